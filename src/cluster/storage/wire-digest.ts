import { type Digest, digestFunctionFor, InvalidDigestError, makeDigest } from "../../reapi/digest.ts";
import { checkInstanceName } from "../../reapi/resource-name.ts";

/** A digest as REAPI messages carry it. */
export interface WireDigest {
  hash: string;
  sizeBytes: bigint;
}

/**
 * Checks a digest of a request. `what` names the field for the error.
 *
 * Throws {@link InvalidDigestError}.
 */
export function digestFromWire(
  instanceName: string,
  functionValue: number,
  digest: WireDigest | undefined,
  what: string,
): Digest {
  checkInstanceName(instanceName);
  if (digest === undefined) {
    throw new InvalidDigestError(`the request has no ${what}`);
  }
  return makeDigest(
    instanceName,
    digestFunctionFor(functionValue, digest.hash),
    digest.hash,
    digest.sizeBytes,
  );
}

/** A reference to a blob of the same instance and digest function as `context`, inside a message read with it. */
export function relatedDigest(context: Digest, digest: WireDigest | undefined, what: string): Digest {
  return digestFromWire(context.instanceName, context.function.value, digest, what);
}
