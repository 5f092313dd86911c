import { Batcher } from "../async/batcher.ts";
import { Semaphore } from "../async/semaphore.ts";
import { SingleFlight } from "../async/single-flight.ts";
import { asBlobError, BlobError, blobFailure } from "../reapi/blob-error.ts";
import { computeDigest, type Digest, type DigestFunction, digestKey, makeDigest } from "../reapi/digest.ts";
import type { BlobBackend } from "./backend.ts";
import type { BlobRoute } from "./blob-server.ts";
import type { StorageStatistics } from "./statistics.ts";
import { type PortableError, toPortable } from "./transfer/portable.ts";
import type { TransferPool } from "./transfer/transfer-pool.ts";
import { readAll, sizedSource, type UploadSource } from "./transfer/upload-source.ts";

export interface UploaderOptions {
  readonly backend: BlobBackend;
  readonly pool: TransferPool;
  readonly statistics: StorageStatistics;
  /** How many writes to storage run at the same time; a batch of small blobs is one. */
  readonly concurrency: number;
}

/** Content up to this size is hashed at once: that takes less time than a detour through a thread (40 µs). */
const INLINE_HASH_BYTES = 64 * 1024;
/** Blobs up to this size share a message. */
const BATCHED_BLOB_BYTES = 64 * 1024;
const BATCH_BYTES = 2 * 1024 * 1024;
const BATCH_COUNT = 500;
const FIND_MISSING_COUNT = 5_000;
const BATCHES_IN_PROGRESS = 4;

/** Stores the blobs that storage lacks. */
export class Uploader {
  readonly #backend: BlobBackend;
  readonly #pool: TransferPool;
  readonly #statistics: StorageStatistics;
  readonly #semaphore: Semaphore;
  readonly #uploads = new SingleFlight<void>();
  readonly #missing: Batcher<Routed, boolean>;
  readonly #small: Batcher<Small, undefined>;

  constructor({ backend, pool, statistics, concurrency }: UploaderOptions) {
    this.#backend = backend;
    this.#pool = pool;
    this.#statistics = statistics;
    this.#semaphore = new Semaphore(Math.max(1, concurrency));
    const group = ({ digest, route }: Routed) =>
      `${route.server} ${digest.function.name} ${route.instanceName}`;
    this.#missing = new Batcher<Routed, boolean>({
      maximumCount: FIND_MISSING_COUNT,
      maximumBytes: Number.POSITIVE_INFINITY,
      bytes: () => 0,
      group,
      maximumConcurrency: BATCHES_IN_PROGRESS,
      run: (items) => this.#findMissing(items),
    });
    this.#small = new Batcher<Small, undefined>({
      maximumCount: BATCH_COUNT,
      maximumBytes: BATCH_BYTES,
      bytes: ({ content }) => content.length,
      group,
      maximumConcurrency: BATCHES_IN_PROGRESS,
      run: (items) => this.#semaphore.run(undefined, () => this.#uploadBatch(items)),
    });
  }

  /**
   * Stores a blob, or waits for whoever is already uploading it. Rejects with {@link BlobError}; with the signal's
   * reason once that aborts.
   */
  upload(digest: Digest, source: UploadSource, signal?: AbortSignal): Promise<void> {
    return this.#uploadOnce(digest, signal, (signal) => this.#uploadIfMissing(digest, source, signal));
  }

  /** The same for a blob that storage is not asked about, since nobody can have stored it before. */
  uploadNew(digest: Digest, source: UploadSource, signal?: AbortSignal): Promise<void> {
    return this.#uploadOnce(digest, signal, (signal) => this.#store(this.#routed(digest), source, signal));
  }

  async #uploadOnce(
    digest: Digest,
    signal: AbortSignal | undefined,
    start: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const key = `${digestKey(digest)}-${digest.instanceName}`;
    const joined = this.#uploads.has(key);
    try {
      await this.#uploads.run(key, signal, start);
    } catch (error) {
      // It may have been the other caller's source that failed.
      if (!joined || signal?.aborted) {
        throw error;
      }
      await this.#uploads.run(key, signal, start);
    }
  }

  /** The digest of the source's content. If that is large, a thread computes it. */
  async hash(
    instanceName: string,
    digestFunction: DigestFunction,
    source: UploadSource,
    signal?: AbortSignal,
  ): Promise<Digest> {
    if (source instanceof Uint8Array && source.length <= INLINE_HASH_BYTES) {
      return computeDigest(instanceName, digestFunction, source);
    }
    const sized = sizedSource(source);
    if (sized.sizeBytes <= INLINE_HASH_BYTES) {
      return computeDigest(instanceName, digestFunction, await readAll(sized));
    }
    const hash = await this.#pool.run(
      {
        kind: "hash",
        function: digestFunction.value,
        hashLength: digestFunction.hashBytes * 2,
        sizeBytes: sized.sizeBytes,
      },
      { source: sized, signal },
    );
    return makeDigest(instanceName, digestFunction, hash, sized.sizeBytes);
  }

  async #uploadIfMissing(digest: Digest, source: UploadSource, signal: AbortSignal): Promise<void> {
    const routed = this.#routed(digest);
    if (!(await this.#missing.add(routed))) {
      this.#statistics.uploadsSpared++;
      this.#statistics.bytesUploadSpared += digest.sizeBytes;
      return;
    }
    signal.throwIfAborted();
    await this.#store(routed, source, signal);
  }

  async #store(routed: Routed, source: UploadSource, signal: AbortSignal): Promise<void> {
    const { digest } = routed;
    const sized = sizedSource(source);
    if (digest.sizeBytes <= BATCHED_BLOB_BYTES) {
      await this.#small.add({ ...routed, content: await readAll(sized) });
    } else {
      await this.#semaphore.run(signal, () =>
        this.#pool.run(
          {
            kind: "upload",
            server: routed.route.server,
            digest: toPortable(digest, routed.route.instanceName),
          },
          { source: sized, signal },
        ),
      );
    }
    this.#statistics.blobsUploaded++;
    this.#statistics.bytesUploaded += digest.sizeBytes;
  }

  async #findMissing(items: readonly Routed[]): Promise<boolean[]> {
    const digests = items.map(({ digest, route }) => toPortable(digest, route.instanceName));
    const missing = await this.#pool.run({ kind: "findMissing", server: items[0]!.route.server, digests });
    const missingHashes = new Set(missing.map(({ hash }) => hash));
    return items.map(({ digest }) => missingHashes.has(digest.hash));
  }

  async #uploadBatch(items: readonly Small[]): Promise<(undefined | Error)[]> {
    const results: readonly (PortableError | undefined)[] = await this.#pool.run({
      kind: "uploadBatch",
      server: items[0]!.route.server,
      blobs: items.map(({ digest, route, content }) => ({
        digest: toPortable(digest, route.instanceName),
        content,
      })),
    });
    return results.map(
      (error, index) => error && new BlobError(error.code, error.message, items[index]!.digest),
    );
  }

  #routed(digest: Digest): Routed {
    try {
      return { digest, route: this.#backend.route(digest) };
    } catch (error) {
      throw blobFailure(digest, asBlobError(error, "blob storage"));
    }
  }
}

interface Routed {
  readonly digest: Digest;
  readonly route: BlobRoute;
}

interface Small extends Routed {
  /** In a buffer of its own. */
  readonly content: Uint8Array;
}
