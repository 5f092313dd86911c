import { type DescMessage, isFieldSet, type MessageShape } from "@bufbuild/protobuf";
import { ConfigurationError } from "./error.ts";

/**
 * Checks that of `message`'s fields only `supported` ones are set, so that a setting is never silently
 * without effect. `waysOut` says, for fields that are refused, what to do instead.
 *
 * Throws {@link ConfigurationError} naming the field as `path.field`.
 */
export function requireSupportedFields<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  path: string,
  supported: readonly Desc["fields"][number]["localName"][],
  waysOut: Readonly<Record<string, string>> = {},
): void {
  for (const field of schema.fields) {
    if (!supported.includes(field.localName) && isFieldSet(message, field)) {
      throw new ConfigurationError(
        `${path === "" ? "" : `${path}.`}${field.jsonName} is not supported: ${waysOut[field.localName] ?? "remove it"}`,
      );
    }
  }
}
