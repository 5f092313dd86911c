import { zstdCompressSync } from "node:zlib";
import { Compressor_Value } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { BlobError, blobName } from "../../reapi/blob-error.ts";
import type { Digest } from "../../reapi/digest.ts";
import { digestMessage } from "../../reapi/wire-digest.ts";
import type { ServerConnection } from "./server-connection.ts";
import { decompress, verifyContent } from "./verify.ts";

/** What a digest takes in a request or response, besides its blob. */
const DIGEST_OVERHEAD = 96;
/** Buildbarn's own clients ask for no more at once. */
const MAXIMUM_FIND_MISSING = 10_000;
/** Below this size, a blob and its digest are mostly digest. */
const SMALLEST_COMPRESSED = 512;

/**
 * For each digest, in order, the blob's content, verified, or why it could not be had. All digests must have the
 * same instance name and function. Rejects if the call as a whole fails.
 */
export async function batchRead(
  connection: ServerConnection,
  digests: readonly Digest[],
  signal?: AbortSignal,
): Promise<(Uint8Array | BlobError)[]> {
  const [{ instanceName, function: digestFunction }] = digests as [Digest];
  const { maximumBatchBytes, zstd } = await connection.capabilities(instanceName);
  const results = new Map<string, Uint8Array | BlobError>();
  for (const batch of split(digests, maximumBatchBytes, (digest) => digest.sizeBytes)) {
    let wanted = batch;
    await connection
      .call("BatchReadBlobs", signal, async (attempt) => {
        const { responses } = await connection.storage.batchReadBlobs(
          {
            instanceName,
            digests: wanted.map(digestMessage),
            acceptableCompressors: zstd ? [Compressor_Value.ZSTD] : [],
            digestFunction: digestFunction.value,
          },
          { signal: attempt.signal },
        );
        const byHash = new Map(responses.map((response) => [response.digest?.hash, response]));
        const again: Digest[] = [];
        for (const digest of wanted) {
          const response = byHash.get(digest.hash);
          const code = response?.status?.code ?? Code.OK;
          if (code === Code.UNAVAILABLE) {
            again.push(digest);
          }
          results.set(
            digest.hash,
            response === undefined
              ? new BlobError(
                  Code.INTERNAL,
                  `${blobName(digest)}: BatchReadBlobs left it out of its answer`,
                  digest,
                )
              : code !== Code.OK
                ? new BlobError(
                    code,
                    `${blobName(digest)}: ${response.status?.message || "not found"}`,
                    digest,
                  )
                : checked(digest, response.data, response.compressor),
          );
        }
        if (again.length > 0) {
          if (again.length < wanted.length) {
            attempt.progress();
          }
          wanted = again;
          throw results.get(again[0]!.hash);
        }
      })
      .catch((error: unknown) => {
        // The others must not fail for blobs that the server keeps calling unavailable.
        if (!(error instanceof BlobError && error.digest !== undefined)) {
          throw error;
        }
      });
  }
  return digests.map((digest) => results.get(digest.hash)!);
}

function checked(digest: Digest, data: Uint8Array, compressor: Compressor_Value): Uint8Array | BlobError {
  try {
    const content = compressor === Compressor_Value.ZSTD ? decompress(digest, data) : data;
    verifyContent(digest, content);
    return content;
  } catch (error) {
    return error as BlobError;
  }
}

/** A blob that is small enough to travel with others in one message. */
export interface SmallBlob {
  readonly digest: Digest;
  readonly content: Uint8Array;
}

/** Stores the blobs. For each: undefined, or why it could not be stored. For the rest, as {@link batchRead}. */
export async function batchUpdate(
  connection: ServerConnection,
  blobs: readonly SmallBlob[],
  signal?: AbortSignal,
): Promise<(BlobError | undefined)[]> {
  const [
    {
      digest: { instanceName, function: digestFunction },
    },
  ] = blobs as [SmallBlob];
  const { maximumBatchBytes, batchUpdateZstd } = await connection.capabilities(instanceName);
  const failures = new Map<string, BlobError>();
  for (const batch of split(blobs, maximumBatchBytes, ({ content }) => content.length)) {
    const requests = batch.map(({ digest, content }) => ({
      digest: digestMessage(digest),
      ...(batchUpdateZstd && content.length >= SMALLEST_COMPRESSED
        ? { data: zstdCompressSync(content), compressor: Compressor_Value.ZSTD }
        : { data: content, compressor: Compressor_Value.IDENTITY }),
    }));
    const { responses } = await connection.call("BatchUpdateBlobs", signal, (attempt) =>
      connection.storage.batchUpdateBlobs(
        { instanceName, requests, digestFunction: digestFunction.value },
        { signal: attempt.signal },
      ),
    );
    const byHash = new Map(responses.map((response) => [response.digest?.hash, response.status]));
    for (const { digest } of batch) {
      const code = byHash.has(digest.hash) ? (byHash.get(digest.hash)?.code ?? Code.OK) : Code.INTERNAL;
      if (code !== Code.OK) {
        const message = byHash.get(digest.hash)?.message ?? "BatchUpdateBlobs left it out of its answer";
        failures.set(digest.hash, new BlobError(code, `${blobName(digest)}: ${message}`, digest));
      }
    }
  }
  return blobs.map(({ digest }) => failures.get(digest.hash));
}

/** Those of the digests that the server lacks. All must have the same instance name and function. */
export async function findMissing(
  connection: ServerConnection,
  digests: readonly Digest[],
  signal?: AbortSignal,
): Promise<Digest[]> {
  const [{ instanceName, function: digestFunction }] = digests as [Digest];
  const missing = new Set<string>();
  for (let start = 0; start < digests.length; start += MAXIMUM_FIND_MISSING) {
    const blobDigests = digests.slice(start, start + MAXIMUM_FIND_MISSING).map(digestMessage);
    const { missingBlobDigests } = await connection.call("FindMissingBlobs", signal, (attempt) =>
      connection.storage.findMissingBlobs(
        { instanceName, blobDigests, digestFunction: digestFunction.value },
        { signal: attempt.signal },
      ),
    );
    for (const { hash, sizeBytes } of missingBlobDigests) {
      missing.add(`${hash}/${sizeBytes}`);
    }
  }
  return digests.filter(({ hash, sizeBytes }) => missing.has(`${hash}/${sizeBytes}`));
}

/** Splits the items into runs of at most `maximumBytes`, or of one item that is larger. */
function split<T>(items: readonly T[], maximumBytes: number, bytes: (item: T) => number): T[][] {
  const batches: T[][] = [];
  let room = 0;
  for (const item of items) {
    const size = bytes(item) + DIGEST_OVERHEAD;
    if (size > room || batches.length === 0) {
      batches.push([]);
      room = maximumBytes;
    }
    batches.at(-1)!.push(item);
    room -= size;
  }
  return batches;
}
