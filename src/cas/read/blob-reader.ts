import { readFileSync } from "node:fs";
import { link, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { status as Status } from "@grpc/grpc-js";
import { Batcher } from "../../async/batcher.ts";
import { BlobError } from "../../reapi/blob-error.ts";
import { type Digest, digestKey } from "../../reapi/digest.ts";
import { toPortable } from "../../reapi/wire-digest.ts";
import type { BlobBackend, BlobRoute } from "../backend.ts";
import type { DiskCache, DiskEntry } from "../cache/disk-cache.ts";
import type { MemoryCache } from "../cache/memory-cache.ts";
import type { StorageStatistics } from "../statistics.ts";
import type { FetchPool } from "../transfer/fetch-pool.ts";
import type { Destined, Fetched } from "../transfer/fetch-tasks.ts";
import { asBlobError } from "../transfer/retry.ts";
import { blobFailure, blobName, verifyContent } from "../transfer/verify.ts";
import { LargeBlob, type LargeBlobContext } from "./large-blob.ts";

export interface BlobReaderOptions {
  readonly backend: BlobBackend;
  readonly pool: FetchPool;
  readonly disk: DiskCache;
  readonly memory: MemoryCache;
  readonly statistics: StorageStatistics;
  /** Larger blobs are fetched in pieces of this size. */
  readonly chunkSizeBytes: number;
  /** Most that is fetched of a large blob ahead of a sequential reader. */
  readonly readAheadBytes: number;
}

/** A cached file up to this size is read whole, into memory; of larger ones only what is asked for. */
const SMALL_FILE_BYTES = 128 * 1024;
/** Blobs up to this size share a message. */
const BATCHED_BLOB_BYTES = 64 * 1024;
/** Per batch, so that the first blob does not wait long for the last. */
const BATCH_BYTES = 512 * 1024;
const BATCH_COUNT = 64;
const BATCHES_IN_PROGRESS = 4;

/** What a blob is wanted for: only content is kept in memory; who decodes a message keeps the result. */
type Use = "content" | "message" | "directory";

const NOTHING = new Uint8Array(0);

/**
 * Blobs by digest, from memory, from the local disk or from storage, verified. Whatever several readers want at
 * the same time is fetched once.
 */
export class BlobReader {
  readonly #backend: BlobBackend;
  readonly #pool: FetchPool;
  readonly #disk: DiskCache;
  readonly #memory: MemoryCache;
  readonly #statistics: StorageStatistics;
  readonly #chunkSizeBytes: number;
  readonly #batcher: Batcher<Wanted, Uint8Array>;
  readonly #largeContext: LargeBlobContext;
  /** Whole blobs that are being fetched or checked, by key. */
  readonly #pending = new Map<string, Promise<Uint8Array>>();
  /** Of blobs that are there and are being written to their files, by key. */
  readonly #storing = new Map<string, Promise<void>>();
  readonly #checks = new Map<string, Promise<void>>();
  readonly #large = new Map<string, LargeBlob>();

  constructor(options: BlobReaderOptions) {
    const { backend, pool, disk, memory, statistics, chunkSizeBytes, readAheadBytes } = options;
    this.#backend = backend;
    this.#pool = pool;
    this.#disk = disk;
    this.#memory = memory;
    this.#statistics = statistics;
    this.#chunkSizeBytes = chunkSizeBytes;
    this.#batcher = new Batcher<Wanted, Uint8Array>({
      maximumCount: BATCH_COUNT,
      maximumBytes: BATCH_BYTES,
      bytes: ({ digest }) => digest.sizeBytes,
      group: ({ digest, route }) => `${route.server} ${digest.function.name} ${route.instanceName}`,
      maximumConcurrency: BATCHES_IN_PROGRESS,
      run: (wanted) => this.#fetchBlobs(wanted, true),
    });
    this.#largeContext = {
      pool,
      disk,
      memory,
      statistics,
      chunkSizeBytes,
      readAheadBytes,
      ended: ({ entry }) => this.#large.delete(entry.key),
      read: (digest, offset, count) => this.read(digest, offset, count),
    };
  }

  /** See InputSource. A single answer goes no further than a chunk's end. */
  read(digest: Digest, offset: number, count: number): Uint8Array | Promise<Uint8Array> {
    const end = Math.min(offset + count, digest.sizeBytes);
    if (offset >= end) {
      return NOTHING;
    }
    const cached = this.#memory.blob(digest);
    if (cached !== undefined) {
      this.#statistics.memoryHits++;
      return cached.subarray(offset, end);
    }
    return this.#readElsewhere(digest, offset, end - offset);
  }

  /**
   * The whole blob. Rejects with INVALID_ARGUMENT if that is larger than `maximumSizeBytes`.
   */
  async whole(digest: Digest, maximumSizeBytes: number, use: Use): Promise<Uint8Array> {
    if (digest.sizeBytes > maximumSizeBytes) {
      throw new BlobError(
        Status.INVALID_ARGUMENT,
        `${blobName(digest)} is larger than the ${maximumSizeBytes} bytes that are allowed for it`,
        digest,
      );
    }
    if (digest.sizeBytes === 0) {
      return NOTHING;
    }
    const cached = this.#memory.blob(digest);
    if (cached !== undefined) {
      return cached;
    }
    const key = digestKey(digest);
    const entry = this.#disk.get(key);
    if (digest.sizeBytes <= this.#chunkSizeBytes) {
      return (
        this.#pending.get(key) ??
        (entry && this.#smallFromDisk(digest, entry, use)) ??
        this.#fetch(digest, key, use)
      );
    }
    await this.#completeFile(digest, key);
    const content = new Uint8Array(digest.sizeBytes);
    for (let offset = 0; offset < content.length; ) {
      const part = await this.read(digest, offset, content.length - offset);
      content.set(part, offset);
      offset += part.length;
    }
    return content;
  }

  /** Sees to it that the blob is in the local disk cache. */
  async prefetch(digest: Digest): Promise<void> {
    if (digest.sizeBytes > 0) {
      await this.#completeFile(digest, digestKey(digest));
    }
  }

  /** Makes a hard link to the blob in the local disk cache, which must be on the same file system. */
  async link(digest: Digest, path: string): Promise<void> {
    const key = digestKey(digest);
    await this.#completeFile(digest, key);
    await mkdir(dirname(path), { recursive: true });
    await link(this.#disk.blobPath(key), path);
  }

  /** Resolves when all that was fetched is in its file. */
  async stored(): Promise<void> {
    await Promise.all(this.#storing.values());
  }

  #readElsewhere(digest: Digest, offset: number, count: number): Uint8Array | Promise<Uint8Array> {
    const key = digestKey(digest);
    const end = offset + count;
    const pending = this.#pending.get(key);
    if (pending !== undefined) {
      return pending.then((content) => content.subarray(offset, end));
    }
    const large = this.#large.get(key);
    if (large !== undefined) {
      return large.read(offset, count);
    }
    const entry = this.#disk.get(key);
    if (entry !== undefined) {
      const fromDisk = this.#readFile(digest, entry, offset, count);
      if (fromDisk !== undefined) {
        return fromDisk;
      }
    }
    if (digest.sizeBytes > this.#chunkSizeBytes) {
      return this.#newLarge(digest, key).read(offset, count);
    }
    this.#statistics.misses++;
    return this.#fetch(digest, key, "content").then((content) => content.subarray(offset, end));
  }

  /** undefined if the file turns out to be unusable; it is dropped then. */
  #readFile(
    digest: Digest,
    entry: DiskEntry,
    offset: number,
    count: number,
  ): Uint8Array | Promise<Uint8Array> | undefined {
    if (digest.sizeBytes <= SMALL_FILE_BYTES) {
      const content = this.#smallFromDisk(digest, entry, "content");
      if (content !== undefined) {
        this.#statistics.diskHits++;
      }
      return content?.subarray(offset, offset + count);
    }
    if (!entry.verified) {
      return this.#check(digest, entry).then(() => this.read(digest, offset, count));
    }
    try {
      const content = this.#disk.openFile(entry, digest.sizeBytes).read(offset, count);
      this.#statistics.diskHits++;
      if (content instanceof Uint8Array) {
        return content;
      }
      return content.catch(() => {
        this.#disk.delete(entry.key);
        return this.read(digest, offset, count);
      });
    } catch {
      this.#disk.delete(entry.key);
      return undefined;
    }
  }

  #smallFromDisk(digest: Digest, entry: DiskEntry, use: Use): Uint8Array | undefined {
    try {
      const content = readFileSync(this.#disk.pathOf(entry));
      if (!entry.verified) {
        verifyContent(digest, content);
      } else if (content.length !== digest.sizeBytes) {
        throw new Error("cut short");
      }
      entry.verified = true;
      if (use === "content") {
        this.#memory.setBlob(digest, content);
      }
      return content;
    } catch (error) {
      this.#dropFile(entry, error);
      return undefined;
    }
  }

  /** Hashes a file of an earlier run, once. Never rejects: afterwards the file is verified, or gone. */
  #check(digest: Digest, entry: DiskEntry): Promise<void> {
    let check = this.#checks.get(entry.key);
    if (check === undefined) {
      const path = this.#disk.pathOf(entry);
      check = this.#pool
        .run({ kind: "verifyFile", digest: toPortable(digest, ""), path, destination: path })
        .then(
          () => {
            entry.verified = true;
          },
          (error: unknown) => this.#dropFile(entry, error),
        )
        .finally(() => this.#checks.delete(entry.key));
      this.#checks.set(entry.key, check);
    }
    return check;
  }

  #dropFile(entry: DiskEntry, error: unknown): void {
    if (error instanceof BlobError && error.code === Status.DATA_LOSS) {
      this.#statistics.corruptBlobs++;
    }
    this.#disk.delete(entry.key);
  }

  /** A blob of at most a chunk. */
  #fetch(digest: Digest, key: string, use: Use): Promise<Uint8Array> {
    const fetch = this.#fetchNow(digest, use).finally(() => this.#pending.delete(key));
    this.#pending.set(key, fetch);
    return fetch;
  }

  async #fetchNow(digest: Digest, use: Use): Promise<Uint8Array> {
    const wanted = { digest, route: this.#route(digest) };
    const fetching =
      digest.sizeBytes <= BATCHED_BLOB_BYTES
        ? this.#batcher.add(wanted)
        : this.#fetchBlobs([wanted], false).then(([blob]) => {
            if (blob instanceof BlobError) {
              throw blob;
            }
            return blob!;
          });
    const content = await fetching.catch((error: unknown) => {
      const failure = blobFailure(digest, asBlobError(error, "fetch"));
      if (failure.code === Status.DATA_LOSS) {
        this.#statistics.corruptBlobs++;
      }
      throw failure;
    });
    this.#statistics.blobsFetched++;
    this.#statistics.bytesFetched += content.length;
    if (use === "directory") {
      this.#statistics.directoriesFetched++;
      this.#statistics.directoryBytesFetched += content.length;
    }
    if (use === "content") {
      this.#memory.setBlob(digest, content);
    }
    return content;
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
    for (const { digest } of wanted) {
      this.#trackStoring(digestKey(digest), storing);
    }
    return blobs.map((blob) => (blob instanceof Uint8Array ? blob : new BlobError(blob.code, blob.message)));
  }

  #trackStoring(key: string, storing: Promise<void>): void {
    this.#storing.set(key, storing);
    void storing.then(() => {
      if (this.#storing.get(key) === storing) {
        this.#storing.delete(key);
      }
    });
  }

  #destined({ digest, route }: Wanted): Destined {
    return {
      digest: toPortable(digest, route.instanceName),
      temporaryPath: this.#disk.temporaryPath(),
      path: this.#disk.blobPath(digestKey(digest)),
    };
  }

  #newLarge(digest: Digest, key: string): LargeBlob {
    const route = this.#route(digest);
    try {
      const large = new LargeBlob(digest, key, route, this.#largeContext);
      this.#large.set(key, large);
      return large;
    } catch (error) {
      throw blobFailure(digest, asBlobError(error, "the local blob cache"));
    }
  }

  async #completeFile(digest: Digest, key: string): Promise<void> {
    if (digest.sizeBytes > this.#chunkSizeBytes) {
      const entry = this.#large.has(key) ? undefined : this.#disk.get(key);
      if (entry !== undefined && !entry.verified) {
        await this.#check(digest, entry);
      }
      if (this.#disk.has(key) && !this.#large.has(key)) {
        return;
      }
      await (this.#large.get(key) ?? this.#newLarge(digest, key)).fetchAll();
    } else {
      const entry = this.#disk.get(key);
      if (entry?.verified) {
        return;
      }
      if (entry && this.#smallFromDisk(digest, entry, "message")) {
        return;
      }
      const storing = () => this.#storing.get(key);
      if (storing() === undefined) {
        await (this.#pending.get(key) ?? this.#fetch(digest, key, "message"));
      }
      await storing();
    }
    if (!this.#disk.has(key)) {
      throw new BlobError(
        Status.RESOURCE_EXHAUSTED,
        `${blobName(digest)} could not be kept in the local blob cache; is its file system full?`,
        digest,
      );
    }
  }

  #route(digest: Digest): BlobRoute {
    try {
      return this.#backend.route(digest);
    } catch (error) {
      throw blobFailure(digest, asBlobError(error, "blob storage"));
    }
  }
}

interface Wanted {
  readonly digest: Digest;
  readonly route: BlobRoute;
}
