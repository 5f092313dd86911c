import type { Digest } from "./digest.ts";

/** Why a blob could not be had. `code` is a google.rpc.Code / gRPC status code. */
export class BlobError extends Error {
  override readonly name = "BlobError";
  readonly code: number;
  /** The blob it is about, where it is about one. */
  readonly digest: Digest | undefined;

  constructor(code: number, message: string, digest?: Digest, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.digest = digest;
  }
}
