import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { asBlobError, blobFailure } from "../../reapi/blob-error.ts";
import type { Digest } from "../../reapi/digest.ts";
import type { DiskCache, DiskEntry } from "../cache/disk-cache.ts";
import type { MemoryCache } from "../cache/memory-cache.ts";
import { OpenFile } from "../cache/open-file.ts";
import type { StorageStatistics } from "../statistics.ts";
import { type PortableDigest, toPortable } from "../transfer/portable.ts";
import type { TransferPool } from "../transfer/transfer-pool.ts";
import { ReadAhead } from "./read-ahead.ts";

/** What all large blobs share. */
export interface LargeBlobContext {
  readonly pool: TransferPool;
  readonly disk: DiskCache;
  readonly memory: MemoryCache;
  readonly statistics: StorageStatistics;
  readonly chunkSizeBytes: number;
  readonly readAheadBytes: number;
  /** Called when the blob is no longer partial: it is complete, corrupt or evicted. */
  ended(blob: LargeBlob): void;
  /** Reads from what has taken the blob's place. */
  read(digest: Digest, offset: number, count: number): Uint8Array | Promise<Uint8Array>;
}

/** A chunk's state; also its key in the memory cache. */
interface Chunk {
  /** Whether it is in the partial file. */
  stored: boolean;
  fetch: Promise<Uint8Array> | undefined;
}

/**
 * A blob that is larger than a chunk, as long as not all of it has been fetched. Its chunks go into a sparse
 * file. Once the last one is in, the whole file is hashed before that chunk, or anything more, is handed out:
 * whoever reads all of a file learns before its end if it is corrupt. Whoever reads only a part has storage's
 * word for it.
 */
export class LargeBlob {
  readonly digest: Digest;
  readonly entry: DiskEntry;
  readonly #context: LargeBlobContext;
  readonly #server: number;
  readonly #portable: PortableDigest;
  readonly #path: string;
  readonly #file: OpenFile;
  readonly #chunks: Chunk[];
  readonly #readAhead: ReadAhead;
  #missing: number;
  #verification: Promise<void> | undefined;
  #ended = false;

  /** Throws an Error of node:fs if the partial file cannot be made. */
  constructor(
    digest: Digest,
    key: string,
    route: { readonly server: number; readonly instanceName: string },
    context: LargeBlobContext,
  ) {
    this.digest = digest;
    this.#context = context;
    this.#server = route.server;
    this.#portable = toPortable(digest, route.instanceName);
    this.#chunks = Array.from({ length: Math.ceil(digest.sizeBytes / context.chunkSizeBytes) }, () => ({
      stored: false,
      fetch: undefined,
    }));
    this.#missing = this.#chunks.length;
    this.#readAhead = new ReadAhead(context.chunkSizeBytes, context.readAheadBytes);
    this.#path = context.disk.temporaryPath();
    this.entry = { key, partialPath: this.#path, verified: false, evicted: () => this.#end() };
    this.#file = new OpenFile(this.#path, "wx+");
    context.disk.set(this.entry, 0);
  }

  /** The answer does not go beyond the chunk that `offset` is in. */
  read(offset: number, count: number): Uint8Array | Promise<Uint8Array> {
    const { chunkSizeBytes, disk, memory, statistics } = this.#context;
    disk.get(this.entry.key);
    if (this.#verification !== undefined) {
      return this.#verification.then(() => this.#context.read(this.digest, offset, count));
    }
    const ahead = this.#readAhead.note(offset, count);
    if (ahead !== undefined) {
      this.#fetchMissing(ahead.from, ahead.until);
    }
    const index = Math.floor(offset / chunkSizeBytes);
    const start = offset - index * chunkSizeBytes;
    const end = Math.min(start + count, chunkSizeBytes);
    const chunk = this.#chunks[index]!;
    const cached = memory.chunk(chunk);
    if (cached !== undefined) {
      statistics.memoryHits++;
      return cached.subarray(start, end);
    }
    if (chunk.stored) {
      statistics.diskHits++;
      return this.#file.read(offset, end - start);
    }
    statistics.misses++;
    if (chunk.fetch === undefined) {
      this.#fetch(index, index + 1);
    }
    return chunk.fetch!.then((content) => content.subarray(start, end));
  }

  /** Resolves when all chunks are in and the hash is right. */
  async fetchAll(): Promise<void> {
    const { chunkSizeBytes, readAheadBytes } = this.#context;
    const step = Math.max(1, Math.floor(readAheadBytes / chunkSizeBytes));
    for (let from = 0; from < this.#chunks.length; from += step) {
      const until = Math.min(from + step, this.#chunks.length);
      this.#fetchMissing(from * chunkSizeBytes, until * chunkSizeBytes);
      await Promise.all(this.#chunks.slice(from, until).map((chunk) => chunk.fetch));
    }
    await this.#verification;
  }

  /** Starts fetching what is missing of the range, in as few pieces as possible. */
  #fetchMissing(from: number, until: number): void {
    const { chunkSizeBytes } = this.#context;
    const end = Math.min(Math.ceil(until / chunkSizeBytes), this.#chunks.length);
    let start = Math.floor(from / chunkSizeBytes);
    while (start < end) {
      if (this.#isThereOrComing(start)) {
        start++;
        continue;
      }
      let stop = start + 1;
      while (stop < end && !this.#isThereOrComing(stop)) {
        stop++;
      }
      this.#fetch(start, stop);
      start = stop;
    }
  }

  #isThereOrComing(index: number): boolean {
    const { stored, fetch } = this.#chunks[index]!;
    return stored || fetch !== undefined;
  }

  /** Fetches the chunks from `from` up to, not including, `to`. */
  #fetch(from: number, to: number): void {
    const { pool, chunkSizeBytes } = this.#context;
    const offset = from * chunkSizeBytes;
    const arrivals = this.#chunks.slice(from, to).map((chunk) => {
      const arrival = Promise.withResolvers<Uint8Array>();
      chunk.fetch = arrival.promise;
      // Perhaps nobody waits for what is read ahead.
      arrival.promise.catch(() => {});
      return arrival;
    });
    pool
      .run(
        {
          kind: "fetchRange",
          server: this.#server,
          digest: this.#portable,
          offset,
          length: Math.min(to * chunkSizeBytes, this.digest.sizeBytes) - offset,
          chunkSizeBytes,
          path: this.#path,
        },
        {
          chunk: (index, content, stored) => {
            void this.#arrived(index, content, stored).then(
              arrivals[index - from]!.resolve,
              arrivals[index - from]!.reject,
            );
          },
        },
      )
      .catch((error: unknown) => {
        const failure = blobFailure(this.digest, asBlobError(error, "ByteStream.Read"));
        if (failure.code === Code.DATA_LOSS) {
          this.#context.statistics.corruptBlobs++;
        }
        for (const [index, { reject }] of arrivals.entries()) {
          const chunk = this.#chunks[from + index]!;
          if (chunk.fetch === arrivals[index]!.promise) {
            chunk.fetch = undefined;
          }
          reject(failure);
        }
      });
  }

  async #arrived(index: number, content: Uint8Array, stored: boolean): Promise<Uint8Array> {
    const { disk, memory, statistics } = this.#context;
    const chunk = this.#chunks[index]!;
    // It came before, from a thread that died.
    if (chunk.stored) {
      return content;
    }
    statistics.chunksFetched++;
    statistics.bytesFetched += content.length;
    chunk.fetch = undefined;
    if (this.#ended) {
      return content;
    }
    chunk.stored = stored;
    memory.setChunk(chunk, content);
    if (!stored) {
      return content;
    }
    this.#missing--;
    disk.set(this.entry, (this.#chunks.length - this.#missing) * this.#context.chunkSizeBytes);
    if (this.#missing === 0) {
      this.#verification = this.#verify();
      this.#verification.catch(() => {});
      await this.#verification;
    }
    return content;
  }

  async #verify(): Promise<void> {
    const { pool, disk, statistics } = this.#context;
    const { key } = this.entry;
    const destination = disk.blobPath(key);
    try {
      await pool.run({ kind: "verifyFile", digest: this.#portable, path: this.#path, destination });
    } catch (error) {
      // An evicted file cannot be verified any more; its chunks are as good as those of any blob read in part.
      if (this.#ended) {
        return;
      }
      const failure = blobFailure(this.digest, asBlobError(error, "verification"));
      if (failure.code === Code.DATA_LOSS) {
        statistics.corruptBlobs++;
      }
      this.#end();
      disk.delete(key);
      throw failure;
    }
    disk.complete(this.entry, this.digest);
    this.#end();
  }

  /** From now on, reads go to whatever takes this blob's place. */
  #end(): void {
    if (this.#ended) {
      return;
    }
    this.#ended = true;
    for (const chunk of this.#chunks) {
      this.#context.memory.deleteChunk(chunk);
    }
    this.#context.ended(this);
    this.#file.close();
  }
}
