import { createHash, hash } from "node:crypto";
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
  /** Of a whole content: lower-case hexadecimal. */
  hash(content: Uint8Array): string;
}

/** A function of Node's own, by its name there. Its hashes of whole contents take no object of their own. */
function nodes(name: string, value: DigestFunction_Value, hashBytes: number): DigestFunction {
  return {
    name,
    value,
    hashBytes,
    createHash: () => createHash(name),
    hash: (content) => hash(name, content, "hex"),
  };
}

function incremental(
  name: string,
  value: DigestFunction_Value,
  hashBytes: number,
  createHash: (sizeBytes: number) => IncrementalHash,
): DigestFunction {
  const hash = (content: Uint8Array) => createHash(content.length).update(content).digest("hex");
  return { name, value, hashBytes, createHash, hash };
}

export const SHA256 = nodes("sha256", DigestFunction_Value.SHA256, 32);

/** Resolves when all of them can be used; whoever hashes awaits it once. */
export const DIGEST_FUNCTIONS_READY: Promise<void> = BLAKE3_READY;

/** The functions that Buildbarn has. Where the length of a hash has to tell, the first of that length is meant. */
export const DIGEST_FUNCTIONS: readonly DigestFunction[] = [
  SHA256,
  nodes("md5", DigestFunction_Value.MD5, 16),
  nodes("sha1", DigestFunction_Value.SHA1, 20),
  nodes("sha384", DigestFunction_Value.SHA384, 48),
  nodes("sha512", DigestFunction_Value.SHA512, 64),
  incremental("sha256tree", DigestFunction_Value.SHA256TREE, 32, () => new Sha256Tree()),
  incremental("blake3", DigestFunction_Value.BLAKE3, 32, () => new Blake3()),
  incremental("gitsha1", DigestFunction_Value.GITSHA1, 20, (sizeBytes) =>
    createHash("sha1").update(`blob ${sizeBytes}\0`),
  ),
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
  return {
    instanceName,
    function: digestFunction,
    hash: digestFunction.hash(content),
    sizeBytes: content.length,
  };
}
