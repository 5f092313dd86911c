import { LRUCache } from "lru-cache";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { BlobError, blobName } from "../../reapi/blob-error.ts";
import { type Digest, digestKey } from "../../reapi/digest.ts";
import type { BlobRoute } from "../blob-server.ts";
import type { MemoryCache } from "../cache/memory-cache.ts";
import type { LocalStore } from "../local/local-store.ts";
import type { StorageStatistics } from "../statistics.ts";
import { verifyContent } from "../transfer/verify.ts";
import { BlobFetcher, type BlobFetcherOptions, type BlobUse } from "./blob-fetcher.ts";
import { LargeBlob, type LargeBlobContext } from "./large-blob.ts";

export interface BlobReaderOptions extends BlobFetcherOptions {
  /** Blobs larger than this are fetched in pieces of this size. */
  readonly chunkSizeBytes: number;
  /** How far ahead of a sequential reader a large blob is fetched, at most. */
  readonly readAheadBytes: number;
}

/** A stored blob up to this size is read whole, into memory; of a larger one only what is asked for. */
const SMALL_BLOB_BYTES = 128 * 1024;
/** How many large blobs are remembered with what was read of them. */
const LARGE_BLOBS = 1000;
const NOTHING = new Uint8Array(0);

/**
 * Reads blobs by digest: from memory, from the local store or from storage. What several readers want at the same
 * time is fetched once.
 */
export class BlobReader {
  readonly #store: LocalStore;
  readonly #memory: MemoryCache;
  readonly #statistics: StorageStatistics;
  readonly #chunkSizeBytes: number;
  readonly #fetcher: BlobFetcher;
  readonly #largeContext: LargeBlobContext;
  readonly #large = new LRUCache<string, LargeBlob>({
    max: LARGE_BLOBS,
    dispose: (blob) => blob.forget(),
  });

  constructor(options: BlobReaderOptions) {
    const { pool, store, memory, statistics, chunkSizeBytes, readAheadBytes } = options;
    this.#store = store;
    this.#memory = memory;
    this.#statistics = statistics;
    this.#chunkSizeBytes = chunkSizeBytes;
    this.#fetcher = new BlobFetcher(options);
    this.#largeContext = {
      pool,
      store,
      memory,
      statistics,
      chunkSizeBytes,
      readAheadBytes,
      ended: ({ key }) => this.#large.delete(key),
    };
  }

  /** See InputSource. An answer may end where a chunk does. */
  read(digest: Digest, offset: number, count: number): Uint8Array | Promise<Uint8Array> {
    const end = Math.min(offset + count, digest.sizeBytes);
    if (offset >= end) {
      return NOTHING;
    }
    const cached = this.#memory.blob(digest);
    if (cached !== undefined) {
      this.#statistics.memoryHits++;
      this.#statistics.memoryBytesRead += end - offset;
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
    if (digest.sizeBytes > this.#chunkSizeBytes) {
      return this.#wholeLarge(digest);
    }
    const key = this.#key(digest);
    return (
      this.#fetcher.pending(key) ??
      (await this.#wholeStored(digest, use)) ??
      // Somebody else may have begun meanwhile.
      this.#fetcher.pending(key) ??
      this.#fetcher.fetch(digest, key, use)
    );
  }

  /** Where who waits for a blob gets it from: `undefined` is the local store, else the route is to storage. */
  origin(digest: Digest): BlobRoute | undefined {
    const key = this.#key(digest);
    const large = this.#large.peek(key);
    const isStored =
      large === undefined
        ? this.#fetcher.pending(key) === undefined && this.#isStored(digest)
        : !large.isFetching;
    return isStored ? undefined : this.#fetcher.route(digest);
  }

  #isStored(digest: Digest): boolean {
    const keys = this.#store.keysOf(digestKey(digest), digest.instanceName);
    return this.#store.find(keys, digest.sizeBytes) !== undefined;
  }

  /** Has what was fetched written to the store. */
  flush(): void {
    this.#fetcher.flush();
  }

  #readElsewhere(digest: Digest, offset: number, count: number): Uint8Array | Promise<Uint8Array> {
    if (digest.sizeBytes > this.#chunkSizeBytes) {
      return this.#largeBlob(digest).read(offset, count);
    }
    const { diskReads, storageReads } = this.#statistics;
    const startedAt = performance.now();
    const key = this.#key(digest);
    const part = (content: Uint8Array) => content.subarray(offset, offset + count);
    const pending = this.#fetcher.pending(key);
    if (pending !== undefined) {
      return storageReads.note(startedAt, pending.then(part));
    }
    const stored = this.#readStored(digest, offset, count);
    if (stored !== undefined) {
      this.#statistics.diskHits++;
      const read = diskReads.note(startedAt, stored);
      return read instanceof Promise
        ? read.then((content) => content ?? this.read(digest, offset, count))
        : (read ?? this.read(digest, offset, count));
    }
    this.#statistics.misses++;
    return storageReads.note(startedAt, this.#fetcher.fetch(digest, key, "file").then(part));
  }

  /** Identifies the blob among those that are being fetched. */
  #key(digest: Digest): string {
    return this.#store.hierarchicalInstanceNames
      ? `${digestKey(digest)}-${digest.instanceName}`
      : digestKey(digest);
  }

  /** undefined, at once or later, if the store does not have it. */
  #readStored(
    digest: Digest,
    offset: number,
    count: number,
  ): Uint8Array | Promise<Uint8Array | undefined> | undefined {
    const entry = this.#store.find(
      this.#store.keysOf(digestKey(digest), digest.instanceName),
      digest.sizeBytes,
    );
    if (entry === undefined) {
      return undefined;
    }
    if (digest.sizeBytes > SMALL_BLOB_BYTES && !entry.mustReadWhole) {
      return this.#store.readPart(entry, offset, count);
    }
    const part = (content: Uint8Array | undefined) => {
      if (content !== undefined) {
        this.#memory.setBlob(digest, content);
      }
      return content?.subarray(offset, offset + count);
    };
    const content = this.#store.readWhole(entry);
    return content instanceof Promise ? content.then(part) : part(content);
  }

  async #wholeStored(digest: Digest, use: BlobUse): Promise<Uint8Array | undefined> {
    const entry = this.#store.find(
      this.#store.keysOf(digestKey(digest), digest.instanceName),
      digest.sizeBytes,
    );
    const content = entry && (await this.#store.readWhole(entry));
    if (content !== undefined && use === "file") {
      this.#memory.setBlob(digest, content);
    }
    return content;
  }

  async #wholeLarge(digest: Digest): Promise<Uint8Array> {
    const content = new Uint8Array(digest.sizeBytes);
    const large = this.#largeBlob(digest);
    for (let offset = 0; offset < content.length; ) {
      const part = await large.read(offset, content.length - offset);
      content.set(part, offset);
      offset += part.length;
    }
    // If the store could not keep all of it, nobody else has.
    if (!large.isVerified) {
      verifyContent(digest, content);
    }
    return content;
  }

  #largeBlob(digest: Digest): LargeBlob {
    const key = this.#key(digest);
    let large = this.#large.get(key);
    if (large === undefined) {
      large = new LargeBlob(digest, key, this.#fetcher.route(digest), this.#largeContext);
      this.#large.set(key, large);
    }
    return large;
  }
}
