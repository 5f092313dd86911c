import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { asBlobError, BlobError, blobFailure, blobName } from "../../reapi/blob-error.ts";
import { type Digest, digestKey } from "../../reapi/digest.ts";
import type { DiskCache, DiskEntry } from "../cache/disk-cache.ts";
import type { MemoryCache } from "../cache/memory-cache.ts";
import type { StorageStatistics } from "../statistics.ts";
import { BlobFetcher, type BlobFetcherOptions, type BlobUse } from "./blob-fetcher.ts";
import { DiskReader } from "./disk-reader.ts";
import { LargeBlob, type LargeBlobContext } from "./large-blob.ts";

export interface BlobReaderOptions extends BlobFetcherOptions {
  /** Blobs larger than this are fetched in pieces of this size. */
  readonly chunkSizeBytes: number;
  /** How far ahead of a sequential reader a large blob is fetched, at most. */
  readonly readAheadBytes: number;
}

/** A cached file up to this size is read whole, into memory; of a larger one only what is asked for. */
const SMALL_FILE_BYTES = 128 * 1024;
const NOTHING = new Uint8Array(0);

/**
 * Reads blobs by digest: from memory, from the local disk or from storage. What several readers want at the same
 * time is fetched once.
 */
export class BlobReader {
  readonly #disk: DiskCache;
  readonly #memory: MemoryCache;
  readonly #statistics: StorageStatistics;
  readonly #chunkSizeBytes: number;
  readonly #fetcher: BlobFetcher;
  readonly #diskReader: DiskReader;
  readonly #largeContext: LargeBlobContext;
  readonly #large = new Map<string, LargeBlob>();

  constructor(options: BlobReaderOptions) {
    const { pool, disk, memory, statistics, chunkSizeBytes, readAheadBytes } = options;
    this.#disk = disk;
    this.#memory = memory;
    this.#statistics = statistics;
    this.#chunkSizeBytes = chunkSizeBytes;
    this.#fetcher = new BlobFetcher(options);
    this.#diskReader = new DiskReader(options);
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

  /** See InputSource. An answer does not go beyond the end of a chunk. */
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

  /** The whole blob. Rejects with INVALID_ARGUMENT if it is larger than `maximumSizeBytes`. */
  async whole(digest: Digest, maximumSizeBytes: number, use: BlobUse): Promise<Uint8Array> {
    if (digest.sizeBytes > maximumSizeBytes) {
      throw new BlobError(
        Code.INVALID_ARGUMENT,
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
    if (digest.sizeBytes > this.#chunkSizeBytes) {
      return this.#wholeLarge(digest, key);
    }
    const entry = this.#disk.get(key);
    return (
      this.#fetcher.pending(key) ??
      (entry && this.#wholeFile(digest, entry, use)) ??
      this.#fetcher.fetch(digest, key, use)
    );
  }

  /** Resolves when all blobs that have arrived are in their files. */
  stored(): Promise<void> {
    return this.#fetcher.stored();
  }

  #readElsewhere(digest: Digest, offset: number, count: number): Uint8Array | Promise<Uint8Array> {
    const key = digestKey(digest);
    const pending = this.#fetcher.pending(key);
    if (pending !== undefined) {
      return pending.then((content) => content.subarray(offset, offset + count));
    }
    const large = this.#large.get(key);
    if (large !== undefined) {
      return large.read(offset, count);
    }
    const entry = this.#disk.get(key);
    const fromDisk = entry && this.#readFile(digest, entry, offset, count);
    if (fromDisk !== undefined) {
      return fromDisk;
    }
    if (digest.sizeBytes > this.#chunkSizeBytes) {
      return this.#newLarge(digest, key).read(offset, count);
    }
    this.#statistics.misses++;
    return this.#fetcher
      .fetch(digest, key, "file")
      .then((content) => content.subarray(offset, offset + count));
  }

  /** undefined if the file was unusable. */
  #readFile(
    digest: Digest,
    entry: DiskEntry,
    offset: number,
    count: number,
  ): Uint8Array | Promise<Uint8Array> | undefined {
    if (digest.sizeBytes <= SMALL_FILE_BYTES) {
      const content = this.#wholeFile(digest, entry, "file");
      if (content !== undefined) {
        this.#statistics.diskHits++;
      }
      return content?.subarray(offset, offset + count);
    }
    if (!entry.verified) {
      return this.#diskReader.verify(digest, entry).then(() => this.read(digest, offset, count));
    }
    const part = this.#diskReader.readPart(digest, entry, offset, count);
    if (part !== undefined) {
      this.#statistics.diskHits++;
    }
    return part instanceof Promise
      ? part.then((content) => content ?? this.read(digest, offset, count))
      : part;
  }

  #wholeFile(digest: Digest, entry: DiskEntry, use: BlobUse): Uint8Array | undefined {
    const content = this.#diskReader.readWhole(digest, entry);
    if (content !== undefined && use === "file") {
      this.#memory.setBlob(digest, content);
    }
    return content;
  }

  async #wholeLarge(digest: Digest, key: string): Promise<Uint8Array> {
    await this.#completeLarge(digest, key);
    const content = new Uint8Array(digest.sizeBytes);
    for (let offset = 0; offset < content.length; ) {
      const part = await this.read(digest, offset, content.length - offset);
      content.set(part, offset);
      offset += part.length;
    }
    return content;
  }

  /** Fetches what is missing of a large blob. Resolves when all of it is in the disk cache, verified. */
  async #completeLarge(digest: Digest, key: string): Promise<void> {
    const entry = this.#large.has(key) ? undefined : this.#disk.get(key);
    if (entry !== undefined && !entry.verified) {
      await this.#diskReader.verify(digest, entry);
    }
    if (this.#disk.has(key) && !this.#large.has(key)) {
      return;
    }
    await (this.#large.get(key) ?? this.#newLarge(digest, key)).fetchAll();
    if (!this.#disk.has(key)) {
      throw new BlobError(
        Code.RESOURCE_EXHAUSTED,
        `${blobName(digest)} could not be kept in the local blob cache; is its file system full?`,
        digest,
      );
    }
  }

  #newLarge(digest: Digest, key: string): LargeBlob {
    const route = this.#fetcher.route(digest);
    try {
      const large = new LargeBlob(digest, key, route, this.#largeContext);
      this.#large.set(key, large);
      return large;
    } catch (error) {
      throw blobFailure(digest, asBlobError(error, "the local blob cache"));
    }
  }
}
