import type { HttpRequester } from "../../http/settings.ts";
import type { Token } from "../../http/token-endpoint.ts";
import { fromJson, isObject, type ObjectValue } from "../../jmespath/values.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { AuthenticationError } from "../error.ts";

const MAXIMUM_CLAIMS_BYTES = 1024 * 1024;

/**
 * What a provider says of a user, where an access token is shown to it. Rejects with an AuthenticationError, UNAVAILABLE for
 * another status than 200, else UNKNOWN.
 */
export async function userInfo(
  client: HttpRequester,
  url: string,
  { authorization }: Token,
  signal: AbortSignal,
): Promise<ObjectValue> {
  let text: string;
  let status: number;
  try {
    using response = await client.request(url, { headers: [["authorization", authorization]] }, signal);
    status = response.status;
    text = status === 200 ? await response.text(MAXIMUM_CLAIMS_BYTES) : "";
  } catch (error) {
    throw noClaims(Code.UNKNOWN, `Failed to request claims: ${(error as Error).message}`);
  }
  if (status !== 200) {
    throw noClaims(Code.UNAVAILABLE, `Requesting claims failed with HTTP status ${status}`);
  }
  return claimsIn(text) ?? fail(noClaims(Code.UNKNOWN, "Failed to unmarshal claims"));
}

/**
 * What an ID token says. It comes from the provider's token endpoint itself, so that its signature need not be checked
 * (OpenID Connect Core §3.1.3.7). Throws an AuthenticationError, INTERNAL.
 */
export function idTokenClaims({ idToken }: Token): ObjectValue {
  if (idToken === undefined) {
    throw noClaims(Code.INTERNAL, "No ID token present in OIDC server response");
  }
  const [, payload] = idToken.split(".");
  if (payload === undefined) {
    throw noClaims(Code.INTERNAL, "Invalid ID token format");
  }
  return (
    claimsIn(Buffer.from(payload, "base64url").toString()) ??
    fail(noClaims(Code.INTERNAL, "Failed to unmarshal ID token claims"))
  );
}

/** Undefined for what is no JSON object. */
function claimsIn(text: string): ObjectValue | undefined {
  try {
    const claims = fromJson(text);
    return isObject(claims) ? claims : undefined;
  } catch {
    return undefined;
  }
}

function noClaims(code: Code, reason: string): AuthenticationError {
  return new AuthenticationError(code, `Failed to obtain claims: ${reason}`);
}

function fail(error: Error): never {
  throw error;
}
