import { promisify } from "node:util";
import { type ZstdOptions, zstdCompress, zstdDecompress } from "node:zlib";
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import type { Handlers } from "../../grpc/handlers.ts";
import { serverStreaming, unary } from "../../grpc/handlers.ts";
import { failure, status, statusFromError } from "../../grpc/status.ts";
import {
  type BatchReadBlobsRequest,
  type BatchReadBlobsResponse_ResponseSchema,
  type BatchUpdateBlobsRequest,
  type BatchUpdateBlobsRequest_Request,
  Compressor_Value,
  type ContentAddressableStorage,
  type Directory,
  DirectorySchema,
  type FindMissingBlobsRequest,
  type GetTreeRequest,
  type GetTreeResponseSchema,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { BlobError } from "../../reapi/blob-error.ts";
import { type Digest, digestKey } from "../../reapi/digest.ts";
import { digestFromWire, digestMessage, relatedDigest } from "../../reapi/wire-digest.ts";
import type { BlobStore } from "./blob-store.ts";
import type { ServedBlobs } from "./served-blobs.ts";

/** Limit of a batch, so that its message stays below gRPC's usual limit of 4 MiB. */
export const MAXIMUM_BATCH_BYTES = 4 * 1024 * 1024 - 256 * 1024;

/** Less than this is not worth compressing. */
const COMPRESS_FROM_BYTES = 1024;
const DEFAULT_PAGE_SIZE = 1000;

/** The REAPI service ContentAddressableStorage, but for the splitting of blobs. */
export function contentAddressableStorage(
  store: BlobStore,
  served: ServedBlobs,
): Handlers<typeof ContentAddressableStorage> {
  return {
    findMissingBlobs: unary((request: FindMissingBlobsRequest) => ({
      missingBlobDigests: request.blobDigests.filter(
        (digest) =>
          !store.has(digestFromWire(request.instanceName, request.digestFunction, digest, "blob digest")),
      ),
    })),

    batchUpdateBlobs: unary(async (request: BatchUpdateBlobsRequest) => ({
      responses: await Promise.all(request.requests.map((blob) => update(store, request, blob))),
    })),

    batchReadBlobs: unary(async (request: BatchReadBlobsRequest, { signal }) => {
      const digests = request.digests.map((digest) =>
        digestFromWire(request.instanceName, request.digestFunction, digest, "digest"),
      );
      const bytes = digests.reduce((sum, digest) => sum + digest.sizeBytes, 0);
      if (bytes > MAXIMUM_BATCH_BYTES) {
        throw failure(
          Code.INVALID_ARGUMENT,
          `a batch of ${bytes} bytes was asked for; at most ${MAXIMUM_BATCH_BYTES} are possible. Use ByteStream`,
        );
      }
      const zstd = request.acceptableCompressors.includes(Compressor_Value.ZSTD);
      return { responses: await Promise.all(digests.map((digest) => read(served, digest, zstd, signal))) };
    }),

    getTree: serverStreaming((request: GetTreeRequest, { signal }) => getTree(served, request, signal)),
  };
}

async function update(
  store: BlobStore,
  { instanceName, digestFunction }: BatchUpdateBlobsRequest,
  { digest, data, compressor }: BatchUpdateBlobsRequest_Request,
) {
  try {
    const expected = digestFromWire(instanceName, digestFunction, digest, "digest");
    await store.put(expected, await plain(data, compressor, expected));
    return { digest, status: status(Code.OK, "") };
  } catch (error) {
    return { digest, status: statusFromError(error) };
  }
}

async function plain(data: Uint8Array, compressor: Compressor_Value, digest: Digest): Promise<Uint8Array> {
  switch (compressor) {
    case Compressor_Value.IDENTITY:
      return data;
    case Compressor_Value.ZSTD:
      try {
        return await decompress(data, { maxOutputLength: Math.max(1, digest.sizeBytes) });
      } catch (error) {
        throw new BlobError(
          Code.INVALID_ARGUMENT,
          `the data of blob ${digestKey(digest)} is not zstd of its size: ${(error as Error).message}`,
          digest,
          { cause: error },
        );
      }
    default:
      throw failure(
        Code.INVALID_ARGUMENT,
        `compressor ${compressor} is not supported; zstd and identity are`,
      );
  }
}

async function read(
  served: ServedBlobs,
  digest: Digest,
  zstd: boolean,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof BatchReadBlobsResponse_ResponseSchema>> {
  const wireDigest = digestMessage(digest);
  try {
    const content = await served.read(digest, signal);
    if (!zstd || content.length < COMPRESS_FROM_BYTES) {
      return { digest: wireDigest, data: content };
    }
    return { digest: wireDigest, data: await compress(content), compressor: Compressor_Value.ZSTD };
  } catch (error) {
    return { digest: wireDigest, status: statusFromError(error) };
  }
}

async function* getTree(
  served: ServedBlobs,
  request: GetTreeRequest,
  signal: AbortSignal,
): AsyncGenerator<MessageInitShape<typeof GetTreeResponseSchema>> {
  const root = digestFromWire(
    request.instanceName,
    request.digestFunction,
    request.rootDigest,
    "root_digest",
  );
  const pageSize = request.pageSize > 0 ? request.pageSize : DEFAULT_PAGE_SIZE;
  const queued = new Map([[digestKey(root), root]]);
  let page: Directory[] = [];
  let pageBytes = 0;
  // A Map's iteration visits what is added meanwhile: breadth first, each directory once.
  for (const digest of queued.values()) {
    const content = await served.read(digest, signal);
    const directory = fromBinary(DirectorySchema, content);
    for (const child of directory.directories) {
      const childDigest = relatedDigest(root, child.digest, `digest of directory ${child.name}`);
      queued.set(digestKey(childDigest), childDigest);
    }
    if (page.length === pageSize || (page.length > 0 && pageBytes + content.length > MAXIMUM_BATCH_BYTES)) {
      yield { directories: page };
      page = [];
      pageBytes = 0;
    }
    page.push(directory);
    pageBytes += content.length;
  }
  yield { directories: page };
}

function compress(content: Uint8Array): Promise<Buffer> {
  return promisify(zstdCompress)(content);
}

function decompress(data: Uint8Array, options: ZstdOptions): Promise<Buffer> {
  return promisify(zstdDecompress)(data, options);
}
