import { fromJson, type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import { toJson as jsonText, type Value } from "../jmespath/values.ts";
import { AuthenticationMetadataSchema } from "../proto/gen/buildbarn/auth/auth_pb.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import { AuthenticationError } from "./error.ts";

/** Buildbarn's AuthenticationMetadata, as JSON: what is known of whoever makes a call. */
export type AuthenticationMetadata = JsonObject;

/** Of what an expression makes of a caller. Throws an AuthenticationError, INVALID_ARGUMENT, if it is no such message. */
export function metadataFrom(value: Value): AuthenticationMetadata {
  try {
    const message = fromJson(AuthenticationMetadataSchema, JSON.parse(jsonText(value)) as JsonValue);
    return toJson(AuthenticationMetadataSchema, message) as AuthenticationMetadata;
  } catch (error) {
    throw new AuthenticationError(
      Code.INVALID_ARGUMENT,
      `Failed to convert JSON authentication metadata to Protobuf message: ${(error as Error).message}`,
      { cause: error },
    );
  }
}

/** As protobuf merges messages: members of the later one replace the earlier one's, and lists are put together. */
export function merged(
  earlier: AuthenticationMetadata,
  later: AuthenticationMetadata,
): AuthenticationMetadata {
  const all = { ...earlier };
  for (const [name, value] of Object.entries(later)) {
    const before = all[name];
    if (Array.isArray(before) && Array.isArray(value)) {
      all[name] = [...before, ...value];
    } else if (isObject(before) && isObject(value)) {
      all[name] = { ...before, ...value };
    } else {
      all[name] = value;
    }
  }
  return all;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
