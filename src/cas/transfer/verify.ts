import { zstdDecompressSync } from "node:zlib";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { BlobError, blobName } from "../../reapi/blob-error.ts";
import type { Digest } from "../../reapi/digest.ts";

/** Throws DATA_LOSS unless the content is what the digest names. */
export function verifyContent(digest: Digest, content: Uint8Array): void {
  if (content.length !== digest.sizeBytes) {
    throw wrongSize(digest, content.length);
  }
  verifyHash(digest, digest.function.hash(content));
}

/** Throws DATA_LOSS unless the content's hash is the digest's. */
export function verifyHash(digest: Digest, hash: string): void {
  if (hash !== digest.hash) {
    throw new BlobError(
      Code.DATA_LOSS,
      `${blobName(digest)} is corrupt: its content has the ${digest.function.name} hash ${hash}`,
      digest,
    );
  }
}

export function wrongSize(digest: Digest, sizeBytes: number): BlobError {
  return new BlobError(
    Code.DATA_LOSS,
    `${blobName(digest)} is corrupt: ${sizeBytes} bytes came instead of ${digest.sizeBytes}`,
    digest,
  );
}

/** Throws DATA_LOSS for what is not Zstandard, or becomes larger than the digest says. */
export function decompress(digest: Digest, compressed: Uint8Array): Uint8Array {
  // Node rejects a limit of 0.
  const options = { maxOutputLength: Math.max(1, digest.sizeBytes) };
  try {
    return zstdDecompressSync(compressed, options);
  } catch (error) {
    throw new BlobError(
      Code.DATA_LOSS,
      `${blobName(digest)} cannot be decompressed to its size: ${(error as Error).message}`,
      digest,
      { cause: error },
    );
  }
}
