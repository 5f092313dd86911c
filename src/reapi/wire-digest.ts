import type { Digest as DigestMessage } from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { type Digest, digestFunctionFor, InvalidDigestError, makeDigest } from "./digest.ts";
import { checkInstanceName } from "./resource-name.ts";

/** A digest as REAPI messages carry it: without instance name and digest function. */
export type WireDigest = Pick<DigestMessage, "hash" | "sizeBytes">;

/** REAPI's Digest message. */
export function digestMessage({ hash, sizeBytes }: Digest): WireDigest & Pick<DigestMessage, "$typeName"> {
  return { $typeName: "build.bazel.remote.execution.v2.Digest", hash, sizeBytes: BigInt(sizeBytes) };
}

/**
 * The digest in a request, checked. `functionValue` is the request's `digest_function`; `what` names the digest's
 * field for the error.
 *
 * @throws InvalidDigestError
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
  const { hash, sizeBytes } = digest;
  return makeDigest(instanceName, digestFunctionFor(functionValue, hash), hash, sizeBytes);
}

/**
 * A digest in a message that was itself found by the digest `context`: of the same instance and digest function.
 *
 * @throws InvalidDigestError
 */
export function relatedDigest(context: Digest, digest: WireDigest | undefined, what: string): Digest {
  return digestFromWire(context.instanceName, context.function.value, digest, what);
}
