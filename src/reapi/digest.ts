import { createHash, type Hash } from "node:crypto";
import { CodedError } from "../grpc/coded-error.ts";
import type { DigestFunction_Value } from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";

/** A REAPI digest function: how it hashes, and what it is called on the wire. */
export interface DigestFunction {
  /** Lower-case name, as in ByteStream resource names: "sha256". */
  readonly name: string;
  /** As REAPI messages name it. */
  readonly value: DigestFunction_Value;
  /** Length of a hash in bytes. */
  readonly hashBytes: number;
  createHash(): Hash;
}

export const SHA256: DigestFunction = {
  name: "sha256",
  value: 1,
  hashBytes: 32,
  createHash: () => createHash("sha256"),
};

const SUPPORTED_FUNCTIONS: readonly DigestFunction[] = [SHA256];

/** Names a blob: REAPI's Digest with what else it takes to look the blob up, instance name and digest function. */
export interface Digest {
  readonly instanceName: string;
  readonly function: DigestFunction;
  /** Lower-case hexadecimal, `2 * function.hashBytes` chars. */
  readonly hash: string;
  readonly sizeBytes: number;
}

/** Something from the wire is not the digest, resource name, instance name or digest function that it should be. */
export class InvalidDigestError extends CodedError {
  override readonly name = "InvalidDigestError";
  readonly code = Code.INVALID_ARGUMENT;
}

/**
 * The function that a REAPI message names by its `DigestFunction.Value`. Older clients leave that at 0 (unknown):
 * then the length of the hash tells.
 */
export function digestFunctionFor(value: number, hash: string): DigestFunction {
  const found = SUPPORTED_FUNCTIONS.find((candidate) =>
    value === 0 ? candidate.hashBytes * 2 === hash.length : candidate.value === value,
  );
  if (found === undefined) {
    throw new InvalidDigestError(
      value === 0
        ? `no supported digest function makes hashes of ${hash.length} characters`
        : `digest function ${value} is not supported; supported are ${SUPPORTED_FUNCTIONS.map((f) => f.name).join(", ")}`,
    );
  }
  return found;
}

/** The function that a resource name calls by its name; undefined for anything else. */
export function digestFunctionNamed(name: string | undefined): DigestFunction | undefined {
  return SUPPORTED_FUNCTIONS.find((candidate) => candidate.name === name);
}

/** Checks what came from the wire. `sizeBytes` may be a bigint, as generated code has it. */
export function makeDigest(
  instanceName: string,
  digestFunction: DigestFunction,
  hash: string,
  sizeBytes: number | bigint,
): Digest {
  if (hash.length !== digestFunction.hashBytes * 2 || !/^[0-9a-f]*$/.test(hash)) {
    throw new InvalidDigestError(
      `hash ${JSON.stringify(hash.slice(0, 200))} is not ${digestFunction.hashBytes * 2} lower-case hexadecimal characters`,
    );
  }
  const size = Number(sizeBytes);
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new InvalidDigestError(`blob ${hash} has size ${sizeBytes}, which is not a size`);
  }
  return { instanceName, function: digestFunction, hash, sizeBytes: size };
}

/** Identifies the content, whatever instance it came from: `sha256-HASH-SIZE`. */
export function digestKey(digest: Digest): string {
  return `${digest.function.name}-${digest.hash}-${digest.sizeBytes}`;
}

export function computeDigest(
  instanceName: string,
  digestFunction: DigestFunction,
  content: Uint8Array,
): Digest {
  const hash = digestFunction.createHash().update(content).digest("hex");
  return { instanceName, function: digestFunction, hash, sizeBytes: content.length };
}
