import { CodedError } from "../grpc/coded-error.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import type { Digest } from "./digest.ts";

/** Why a blob could not be had or stored. */
export class BlobError extends CodedError {
  override readonly name = "BlobError";
  readonly code: number;
  /** The blob in question, if it is a single one. */
  readonly digest: Digest | undefined;

  constructor(code: number, message: string, digest?: Digest, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.digest = digest;
  }
}

/** How messages name a blob. */
export function blobName(digest: Digest): string {
  return `blob ${digest.hash}-${digest.sizeBytes}-${JSON.stringify(digest.instanceName)}`;
}

/** Any failure of a call as a BlobError, with the call's gRPC status and, in its message, what the call was for. */
export function asBlobError(error: unknown, what: string): BlobError {
  if (error instanceof BlobError) {
    return error;
  }
  if (error instanceof Error && "code" in error && typeof error.code === "number") {
    const details = "details" in error && typeof error.details === "string" ? error.details : error.message;
    return new BlobError(error.code, `${what}: ${details}`, undefined, { cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  return new BlobError(Code.INTERNAL, `${what}: ${message}`, undefined, { cause: error });
}

/** The same failure, with the blob it is about in its message and as its digest. */
export function blobFailure(digest: Digest, error: BlobError): BlobError {
  if (error.digest === digest) {
    return error;
  }
  const message = error.message.includes(digest.hash)
    ? error.message
    : `${blobName(digest)}: ${error.message}`;
  return new BlobError(error.code, message, digest, { cause: error });
}
