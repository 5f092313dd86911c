import { createHash } from "node:crypto";
import { CodedError } from "../grpc/coded-error.ts";
import { DigestFunction_Value } from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import { BLAKE3_READY, Blake3 } from "./blake3.ts";
import { Sha256Tree } from "./sha256-tree.ts";

/** Hashes a content piece by piece, once. */
export interface IncrementalHash {
  update(data: Uint8Array): this;
  digest(encoding: "hex"): string;
}

/** A REAPI digest function: how it hashes, and what it is called on the wire. */
export interface DigestFunction {
  /** Lower-case name, as in ByteStream resource names: "sha256". */
  readonly name: string;
  /** As REAPI messages name it. */
  readonly value: DigestFunction_Value;
  /** Length of a hash in bytes. */
  readonly hashBytes: number;
  /** For a content of exactly that many bytes: one function hashes its size first. */
  createHash(sizeBytes: number): IncrementalHash;
}

export const SHA256: DigestFunction = {
  name: "sha256",
  value: DigestFunction_Value.SHA256,
  hashBytes: 32,
  createHash: () => createHash("sha256"),
};

/** Resolves when all of them can be used; whoever hashes awaits it once. */
export const DIGEST_FUNCTIONS_READY: Promise<void> = BLAKE3_READY;

/** The functions that Buildbarn has. Where the length of a hash has to tell, the first of that length is meant. */
export const DIGEST_FUNCTIONS: readonly DigestFunction[] = [
  SHA256,
  {
    name: "md5",
    value: DigestFunction_Value.MD5,
    hashBytes: 16,
    createHash: () => createHash("md5"),
  },
  {
    name: "sha1",
    value: DigestFunction_Value.SHA1,
    hashBytes: 20,
    createHash: () => createHash("sha1"),
  },
  {
    name: "sha384",
    value: DigestFunction_Value.SHA384,
    hashBytes: 48,
    createHash: () => createHash("sha384"),
  },
  {
    name: "sha512",
    value: DigestFunction_Value.SHA512,
    hashBytes: 64,
    createHash: () => createHash("sha512"),
  },
  {
    name: "sha256tree",
    value: DigestFunction_Value.SHA256TREE,
    hashBytes: 32,
    createHash: () => new Sha256Tree(),
  },
  {
    name: "blake3",
    value: DigestFunction_Value.BLAKE3,
    hashBytes: 32,
    createHash: () => new Blake3(),
  },
  {
    name: "gitsha1",
    value: DigestFunction_Value.GITSHA1,
    hashBytes: 20,
    createHash: (sizeBytes) => createHash("sha1").update(`blob ${sizeBytes}\0`),
  },
];

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
  const found = DIGEST_FUNCTIONS.find((candidate) =>
    value === 0 ? candidate.hashBytes * 2 === hash.length : candidate.value === value,
  );
  if (found === undefined) {
    throw new InvalidDigestError(
      value === 0
        ? `no supported digest function makes hashes of ${hash.length} characters`
        : `digest function ${value} is not supported; supported are ${DIGEST_FUNCTIONS.map((f) => f.name).join(", ")}`,
    );
  }
  return found;
}

/** The function that a resource name calls by its name; undefined for anything else. */
export function digestFunctionNamed(name: string | undefined): DigestFunction | undefined {
  return DIGEST_FUNCTIONS.find((candidate) => candidate.name === name);
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
  const hash = digestFunction.createHash(content.length).update(content).digest("hex");
  return { instanceName, function: digestFunction, hash, sizeBytes: content.length };
}
