import { Batcher } from "../../async/batcher.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { asBlobError, BlobError, blobFailure } from "../../reapi/blob-error.ts";
import { type Digest, digestKey } from "../../reapi/digest.ts";
import type { BlobBackend } from "../backend.ts";
import type { BlobRoute } from "../blob-server.ts";
import type { DiskCache } from "../cache/disk-cache.ts";
import type { MemoryCache } from "../cache/memory-cache.ts";
import type { StorageStatistics } from "../statistics.ts";
import { toPortable } from "../transfer/portable.ts";
import type { TransferPool } from "../transfer/transfer-pool.ts";
import type { Destined, Fetched } from "../transfer/transfer-task.ts";

/** What a blob is wanted for. Only files are kept in memory: whoever decodes a message keeps the result. */
export type BlobUse = "file" | "message" | "directory";

export interface BlobFetcherOptions {
  readonly backend: BlobBackend;
  readonly pool: TransferPool;
  readonly disk: DiskCache;
  readonly memory: MemoryCache;
  readonly statistics: StorageStatistics;
}

/** Blobs up to this size share a message. */
const BATCHED_BLOB_BYTES = 64 * 1024;
/** Limits of a batch, so that the first blob does not wait long for the last. */
const BATCH_BYTES = 512 * 1024;
const BATCH_COUNT = 64;
const BATCHES_IN_PROGRESS = 4;

/**
 * Fetches whole blobs from storage, each once, however many want it. It hands them out as soon as they are
 * verified, and puts them into the caches.
 */
export class BlobFetcher {
  readonly #backend: BlobBackend;
  readonly #pool: TransferPool;
  readonly #disk: DiskCache;
  readonly #memory: MemoryCache;
  readonly #statistics: StorageStatistics;
  readonly #batcher: Batcher<Wanted, Uint8Array>;
  readonly #pending = new Map<string, Promise<Uint8Array>>();
  readonly #storing = new Set<Promise<void>>();

  constructor({ backend, pool, disk, memory, statistics }: BlobFetcherOptions) {
    this.#backend = backend;
    this.#pool = pool;
    this.#disk = disk;
    this.#memory = memory;
    this.#statistics = statistics;
    this.#batcher = new Batcher<Wanted, Uint8Array>({
      maximumCount: BATCH_COUNT,
      maximumBytes: BATCH_BYTES,
      bytes: ({ digest }) => digest.sizeBytes,
      group: ({ digest, route }) => `${route.server} ${digest.function.name} ${route.instanceName}`,
      maximumConcurrency: BATCHES_IN_PROGRESS,
      run: (wanted) => this.#fetchBlobs(wanted, true),
    });
  }

  /** The blob, if it is being fetched. */
  pending(key: string): Promise<Uint8Array> | undefined {
    return this.#pending.get(key);
  }

  /** Fetches a blob that is not {@link pending}. Rejects with {@link BlobError}. */
  fetch(digest: Digest, key: string, use: BlobUse): Promise<Uint8Array> {
    const fetch = this.#fetch(digest, use).finally(() => this.#pending.delete(key));
    this.#pending.set(key, fetch);
    return fetch;
  }

  /** Resolves when all blobs that have arrived are in their files. */
  async stored(): Promise<void> {
    await Promise.all(this.#storing);
  }

  /** Where to fetch the blob from. Throws {@link BlobError} if no server has its instance. */
  route(digest: Digest): BlobRoute {
    try {
      return this.#backend.route(digest);
    } catch (error) {
      throw blobFailure(digest, asBlobError(error, "blob storage"));
    }
  }

  async #fetch(digest: Digest, use: BlobUse): Promise<Uint8Array> {
    const wanted = { digest, route: this.route(digest) };
    const blob = await (digest.sizeBytes <= BATCHED_BLOB_BYTES
      ? this.#batcher.add(wanted)
      : this.#fetchAlone(wanted)
    ).catch((error: unknown) => {
      const failure = blobFailure(digest, asBlobError(error, "fetch"));
      if (failure.code === Code.DATA_LOSS) {
        this.#statistics.corruptBlobs++;
      }
      throw failure;
    });
    this.#statistics.blobsFetched++;
    this.#statistics.bytesFetched += blob.length;
    if (use === "directory") {
      this.#statistics.directoriesFetched++;
      this.#statistics.directoryBytesFetched += blob.length;
    }
    if (use === "file") {
      this.#memory.setBlob(digest, blob);
    }
    return blob;
  }

  async #fetchAlone(wanted: Wanted): Promise<Uint8Array> {
    const [blob] = await this.#fetchBlobs([wanted], false);
    if (blob instanceof BlobError) {
      throw blob;
    }
    return blob!;
  }

  /** Resolves when the blobs are there; they are stored after that. */
  async #fetchBlobs(wanted: readonly Wanted[], together: boolean): Promise<(Uint8Array | BlobError)[]> {
    const fetched = Promise.withResolvers<readonly Fetched[]>();
    const stored = this.#pool.run(
      {
        kind: "fetchBlobs",
        server: wanted[0]!.route.server,
        together,
        blobs: wanted.map((each) => this.#destined(each)),
      },
      { blobs: fetched.resolve },
    );
    stored.catch(fetched.reject);
    const storing = stored.then(
      (stored) => {
        for (const [index, { digest }] of wanted.entries()) {
          if (stored[index]) {
            this.#disk.add(digest);
          }
        }
      },
      () => {},
    );
    const blobs = await fetched.promise;
    // Only from here on: what storage never sends is not waited for.
    this.#storing.add(storing);
    void storing.then(() => this.#storing.delete(storing));
    return blobs.map((blob) => (blob instanceof Uint8Array ? blob : new BlobError(blob.code, blob.message)));
  }

  #destined({ digest, route }: Wanted): Destined {
    return {
      digest: toPortable(digest, route.instanceName),
      temporaryPath: this.#disk.temporaryPath(),
      path: this.#disk.blobPath(digestKey(digest)),
    };
  }
}

interface Wanted {
  readonly digest: Digest;
  readonly route: BlobRoute;
}
