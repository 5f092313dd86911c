import { availableParallelism } from "node:os";
import { CallCounts, type SharedCallCounts } from "../grpc/calls/counts.ts";
import type { KubernetesResolverSettings } from "../grpc/kubernetes/resolver.ts";
import type { ActionResult } from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Digest, DigestFunction } from "../reapi/digest.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics/metrics.ts";
import { ActionCacheClient } from "./action-cache.ts";
import type { BlobBackend } from "./backend.ts";
import { BackendMetrics } from "./backend-metrics.ts";
import type { BlobRoute } from "./blob-server.ts";
import { DirectoryCache } from "./cache/directory-cache.ts";
import { MemoryCache } from "./cache/memory-cache.ts";
import type { Combination } from "./combined/combination.ts";
import { combinedPool } from "./combined/combined-pool.ts";
import type { InputDirectory, InputSource } from "./input-source.ts";
import { LocalStore } from "./local/local-store.ts";
import type { LocalStoreOptions } from "./local/options.ts";
import { BlobReader } from "./read/blob-reader.ts";
import { newStatistics, type StorageCapacity, type StorageStatistics } from "./statistics.ts";
import { DEFAULT_RETRY_POLICY, type RetryPolicy, SYSTEM_CLOCK } from "./transfer/retry.ts";
import { createTransferPool } from "./transfer/transfer-pool.ts";
import type { UploadSource } from "./transfer/upload-source.ts";
import { Uploader } from "./uploader.ts";

export interface StorageClientOptions {
  readonly contentAddressableStorage: BlobBackend;
  readonly actionCache: BlobBackend;
  /** What was fetched is kept there. */
  readonly localStore: LocalStoreOptions;
  /** Whether the local store overwrites whatever is at its place. */
  readonly reformat?: boolean;
  readonly log?: Log;
  /** Bytes of small blobs and chunks kept in memory. Default 32 MiB. */
  readonly memoryCacheSizeBytes?: number;
  /** Buildbarn's `directoryCache`. Default 10,000 directories and 16 MiB of messages. */
  readonly directoryCache?: { readonly maximumCount: number; readonly maximumSizeBytes: number };
  /** Buildbarn's `maximumMessageSizeBytes`, for messages kept as blobs. Default 64 MiB. */
  readonly maximumMessageSizeBytes?: number;
  /**
   * Blobs up to this size are fetched whole, larger ones in pieces of it. Default 2 MiB, less where the local store's
   * blocks are smaller than four times that.
   */
  readonly chunkSizeBytes?: number;
  /** How far ahead of a sequential reader a large blob is fetched, at most. Default 16 MiB. */
  readonly readAheadBytes?: number;
  /**
   * Threads that transfer, hash and store; each takes about 35 MiB. Default 1, or 2 with 8 processors and more.
   * With 0, the calling thread does it all.
   */
  readonly transferThreads?: number;
  /** Buildbarn's `outputUploadConcurrency`. Default 16. */
  readonly uploadConcurrency?: number;
  readonly retryPolicy?: Partial<RetryPolicy>;
  /** Where calls are counted, if they are. */
  readonly callCounts?: SharedCallCounts | undefined;
  /** By which channels look up addresses. */
  readonly kubernetesResolvers?: readonly KubernetesResolverSettings[];
  /** Gets what is asked of servers. */
  readonly metrics?: Metrics | undefined;
}

/**
 * All that a worker needs of storage. Methods reject with BlobError, and with the signal's reason where one is
 * given and aborts. `directory` and `read` are those of {@link InputSource}.
 */
export interface StorageClient extends InputSource, AsyncDisposable {
  /** Begins to connect, and starts what can be started before it is needed. Does not wait for storage. Rejects with BlobError. */
  start(): Promise<void>;
  /** A whole blob, such as a Command; INVALID_ARGUMENT if it is larger than a message may be. */
  message(digest: Digest): Promise<Uint8Array>;
  /** Stores a blob unless storage has it. */
  upload(digest: Digest, source: UploadSource, signal?: AbortSignal): Promise<void>;
  /** The same for a blob that storage is not asked about, since nobody can have stored it before. */
  uploadNew(digest: Digest, source: UploadSource, signal?: AbortSignal): Promise<void>;
  /** The same for a blob whose digest is not known yet. Resolves to the digest. */
  hashAndUpload(
    instanceName: string,
    digestFunction: DigestFunction,
    source: UploadSource,
    signal?: AbortSignal,
  ): Promise<Digest>;
  /** The digest of a content that is not to be stored. */
  hash(
    instanceName: string,
    digestFunction: DigestFunction,
    source: UploadSource,
    signal?: AbortSignal,
  ): Promise<Digest>;
  updateActionResult(actionDigest: Digest, result: ActionResult, signal?: AbortSignal): Promise<void>;
  statistics(): Readonly<StorageStatistics>;
  readonly capacity: StorageCapacity;
  /** Where a blob that somebody waits for comes from, in words. */
  origin(digest: Digest): string;
  /** Ends all transfers; callers that wait for them, or want one later, get UNAVAILABLE. */
  endTransfers(): Promise<void>;
  /** The same, and closes the local store: nothing may be asked for any more. */
  close(): Promise<void>;
}

const MiB = 1024 * 1024;
const SMALLEST_CHUNK = 4096;

/** Rejects with an Error if the local store is unusable or in use. Does not contact any server yet. */
export async function createStorageClient(options: StorageClientOptions): Promise<StorageClient> {
  const { contentAddressableStorage: storage } = options;
  const retryPolicy = { ...DEFAULT_RETRY_POLICY, ...options.retryPolicy };
  const statistics = newStatistics();

  await using opening = new AsyncDisposableStack();
  const open = async (storeOptions: LocalStoreOptions): Promise<LocalStore> => {
    const context = { reformat: options.reformat ?? false, log: options.log };
    return opening.adopt(await LocalStore.open(storeOptions, context), (store) => store.close());
  };
  const store = await open(options.localStore);
  const stores = new Map<Combination, LocalStore>();
  for (const combination of storage.combinations) {
    if (combination.kind === "local") {
      stores.set(combination, await open(combination.options));
    }
  }
  const memoryBytes = options.memoryCacheSizeBytes ?? 32 * MiB;
  const memory = new MemoryCache(memoryBytes, store.hierarchicalInstanceNames);
  const backendMetrics = options.metrics && new BackendMetrics(options.metrics);
  const threads = createTransferPool({
    threads: options.transferThreads ?? (availableParallelism() < 8 ? 1 : 2),
    // On its only processor, they would hold up all else that the program begins with.
    startThreadsLate: availableParallelism() === 1,
    servers: storage.servers,
    retryPolicy,
    storeIdentity: store.identity,
    callCounts: options.callCounts,
    kubernetesResolvers: options.kubernetesResolvers,
  });
  const pool = combinedPool(
    backendMetrics?.metered(threads) ?? threads,
    storage.combinations,
    stores,
    store.identity,
  );

  const maximumMessageSizeBytes = options.maximumMessageSizeBytes ?? 64 * MiB;
  const reader = new BlobReader({
    backend: storage,
    pool,
    store,
    memory,
    statistics,
    chunkSizeBytes: options.chunkSizeBytes ?? chunkSizeFor(store.maximumContentBytes),
    readAheadBytes: options.readAheadBytes ?? 16 * MiB,
  });
  const directoryLimits = { maximumCount: 10_000, maximumSizeBytes: 16 * MiB, ...options.directoryCache };
  const directories = new DirectoryCache(reader, statistics, { ...directoryLimits, maximumMessageSizeBytes });

  const uploader = new Uploader({
    backend: storage,
    pool,
    statistics,
    concurrency: options.uploadConcurrency ?? 16,
  });
  const actionCache = new ActionCacheClient(
    options.actionCache,
    retryPolicy,
    SYSTEM_CLOCK,
    options.callCounts && new CallCounts(options.callCounts),
  );

  async function hashAndUpload(
    instanceName: string,
    digestFunction: DigestFunction,
    source: UploadSource,
    signal?: AbortSignal,
  ): Promise<Digest> {
    const digest = await uploader.hash(instanceName, digestFunction, source, signal);
    await uploader.upload(digest, source, signal);
    return digest;
  }

  async function close(): Promise<void> {
    await pool.close();
    reader.flush();
    actionCache.close();
    memory.clear();
    await opened.disposeAsync();
  }

  const opened = opening.move();
  return {
    directory: (digest): InputDirectory | Promise<InputDirectory> => directories.get(digest),
    read: (digest, offset, count) => reader.read(digest, offset, count),
    start: () => pool.start(),
    message: (digest) => reader.whole(digest, maximumMessageSizeBytes, "message"),
    upload: (digest, source, signal) => uploader.upload(digest, source, signal),
    uploadNew: (digest, source, signal) => uploader.uploadNew(digest, source, signal),
    hashAndUpload,
    hash: (instanceName, digestFunction, source, signal) =>
      uploader.hash(instanceName, digestFunction, source, signal),
    updateActionResult(actionDigest, result, signal) {
      const update = () => actionCache.update(actionDigest, result, signal);
      return backendMetrics?.putActionResult(result, signal, update) ?? update();
    },
    statistics: () => ({
      ...statistics,
      corruptBlobs: statistics.corruptBlobs + store.corruptEntries,
      memoryBytes: memory.sizeBytes,
      directoryCount: directories.count,
      directoryBytes: directories.sizeBytes,
      diskBytes: store.sizeBytes,
      diskBlobs: store.count,
      memoryEvictions: memory.evictions,
      ...store.turnover(),
    }),
    capacity: {
      memoryBytes,
      directoryCount: directoryLimits.maximumCount,
      directoryBytes: directoryLimits.maximumSizeBytes,
      diskBytes: store.capacityBytes,
    },
    origin: (digest) => originOf(reader.origin(digest), storage),
    endTransfers: () => pool.close(),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function originOf(route: BlobRoute | undefined, { servers, combinations }: BlobBackend): string {
  if (route === undefined) {
    return "the local cache";
  }
  return servers[route.server]?.endpoint.address ?? combinations[-1 - route.server]!.kind;
}

/** Several chunks should fit into a block, so that little of it is left over at its end. */
function chunkSizeFor(maximumContentBytes: number): number {
  let size = 2 * MiB;
  while (size > SMALLEST_CHUNK && size * 4 > maximumContentBytes) {
    size /= 2;
  }
  return size;
}
