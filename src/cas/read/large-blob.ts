import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { asBlobError, BlobError, blobFailure, blobName } from "../../reapi/blob-error.ts";
import { type Digest, digestKey } from "../../reapi/digest.ts";
import type { BlobRoute } from "../blob-server.ts";
import type { MemoryCache } from "../cache/memory-cache.ts";
import { CHECK_BYTES, contentOf, type EntryKey, frameCheck, frameOf, partKey } from "../local/layout.ts";
import type { LocalStore } from "../local/local-store.ts";
import type { StoredEntry } from "../local/options.ts";
import type { StorageStatistics } from "../statistics.ts";
import { type PortableDigest, toPortable } from "../transfer/portable.ts";
import type { TransferPool } from "../transfer/transfer-pool.ts";
import { ReadAhead } from "./read-ahead.ts";
import { verifyStored } from "./stored-verification.ts";

/** What all large blobs share. */
export interface LargeBlobContext {
  readonly pool: TransferPool;
  readonly store: LocalStore;
  readonly memory: MemoryCache;
  readonly statistics: StorageStatistics;
  readonly chunkSizeBytes: number;
  readonly readAheadBytes: number;
  /** Called when the blob turned out to be corrupt: the next reader begins anew. */
  ended(blob: LargeBlob): void;
}

/** A chunk's state; also its key in the memory cache. */
interface Chunk {
  /** Whether it was put into the store. Only for counting: it may have been given up there. */
  stored: boolean;
  /** Until it is in the store. */
  fetch: Promise<Uint8Array> | undefined;
}

/**
 * A blob that is larger than a chunk. Its chunks are entries of the store. Once all of them are there, the whole is
 * hashed before the last one, or anything more, is handed out: whoever reads all of a file learns before its end if it
 * is corrupt. Whoever reads only a part has storage's word for it.
 *
 * Of a blob whose hash was right, the store has one more entry: the checks of all chunks. A chunk that is fetched again,
 * since it was given up, is compared with that.
 */
export class LargeBlob {
  readonly digest: Digest;
  readonly key: string;
  readonly #context: LargeBlobContext;
  readonly #route: BlobRoute;
  readonly #portable: PortableDigest;
  readonly #chunkKeys: readonly EntryKey[];
  readonly #checksKeys: readonly [EntryKey, ...EntryKey[]];
  readonly #chunks: Chunk[];
  readonly #readAhead: ReadAhead;
  readonly #puts = new Set<Promise<unknown>>();
  /** Of all chunks, if the whole is known to be right. */
  #checks: Uint8Array | undefined;
  #missing = 0;
  #verification: Promise<void> | undefined;
  #ended = false;

  constructor(digest: Digest, key: string, route: BlobRoute, context: LargeBlobContext) {
    const { store, chunkSizeBytes, readAheadBytes } = context;
    this.digest = digest;
    this.key = key;
    this.#context = context;
    this.#route = route;
    this.#portable = toPortable(digest, route.instanceName);
    const name = `${digestKey(digest)} in chunks of ${chunkSizeBytes}`;
    this.#chunkKeys = store.keysOf(name, digest.instanceName);
    this.#checksKeys = store.keysOf(`checks of ${name}`, digest.instanceName);
    this.#readAhead = new ReadAhead(chunkSizeBytes, readAheadBytes);
    const count = Math.ceil(digest.sizeBytes / chunkSizeBytes);
    const checks = store.find(this.#checksKeys, count * CHECK_BYTES);
    this.#checks = checks && store.readWholeNow(checks);
    this.#chunks = Array.from({ length: count }, () => ({ stored: false, fetch: undefined }));
    if (this.#checks === undefined) {
      this.#missing = count;
      for (const index of this.#chunks.keys()) {
        if (this.#find(index) !== undefined) {
          this.#noteStored(index);
        }
      }
    }
  }

  /** Whether the hash of the whole is known to be right. */
  get isVerified(): boolean {
    return this.#checks !== undefined;
  }

  get isFetching(): boolean {
    return this.#chunks.some(({ fetch }) => fetch !== undefined);
  }

  /** As long as not all is known to be right, the answer does not go beyond the chunk that `offset` is in. */
  read(offset: number, count: number): Uint8Array | Promise<Uint8Array> {
    const chunkEnd = offset - (offset % this.#context.chunkSizeBytes) + this.#context.chunkSizeBytes;
    const rest = Math.min(offset + count, this.digest.sizeBytes) - chunkEnd;
    const first = this.#readWithin(offset, count);
    if (!this.isVerified || rest <= 0) {
      return first;
    }
    // Else a reader whose requests lie across chunks would have to ask twice each time.
    const second = this.#readWithin(chunkEnd, rest);
    return first instanceof Uint8Array && second instanceof Uint8Array
      ? Buffer.concat([first, second])
      : Promise.all([first, second]).then((parts) => Buffer.concat(parts));
  }

  /** The same, never beyond the chunk. */
  #readWithin(offset: number, count: number): Uint8Array | Promise<Uint8Array> {
    const { chunkSizeBytes, memory, statistics } = this.#context;
    if (this.#verification !== undefined) {
      return this.#verification.then(() => this.#readWithin(offset, count));
    }
    const ahead = this.#readAhead.note(offset, count);
    if (ahead !== undefined) {
      this.#fetchMissing(ahead.from, ahead.until);
    }
    const index = Math.floor(offset / chunkSizeBytes);
    const start = offset - index * chunkSizeBytes;
    const end = Math.min(start + count, this.#length(index));
    const chunk = this.#chunks[index]!;
    const cached = memory.chunk(chunk);
    if (cached !== undefined) {
      statistics.memoryHits++;
      statistics.memoryBytesRead += end - start;
      return cached.subarray(start, end);
    }
    const startedAt = performance.now();
    if (chunk.fetch === undefined) {
      const stored = this.#readStored(index, start, end);
      if (stored !== undefined) {
        statistics.diskHits++;
        const read = statistics.diskReads.note(startedAt, stored);
        return read instanceof Promise
          ? read.then((content) => content ?? this.#readWithin(offset, count))
          : (read ?? this.#readWithin(offset, count));
      }
      this.#fetch(index, index + 1);
    }
    statistics.misses++;
    return statistics.storageReads.note(
      startedAt,
      chunk.fetch!.then((content) => content.subarray(start, end)),
    );
  }

  /** Drops the chunks from the memory cache. */
  forget(): void {
    this.#ended = true;
    for (const chunk of this.#chunks) {
      this.#context.memory.deleteChunk(chunk);
    }
  }

  #length(index: number): number {
    const { chunkSizeBytes } = this.#context;
    return Math.min(chunkSizeBytes, this.digest.sizeBytes - index * chunkSizeBytes);
  }

  #keys(index: number): EntryKey[] {
    return this.#chunkKeys.map((key) => partKey(key, index));
  }

  #find(index: number): StoredEntry | undefined {
    return this.#context.store.find(this.#keys(index), this.#length(index));
  }

  /** The check that the chunk must have, if that is known. */
  #expectedCheck(index: number): Uint8Array | undefined {
    return this.#checks?.subarray(index * CHECK_BYTES, (index + 1) * CHECK_BYTES);
  }

  /** undefined, at once or later, if it is not in the store, or not right. */
  #readStored(
    index: number,
    start: number,
    end: number,
  ): Uint8Array | Promise<Uint8Array | undefined> | undefined {
    const { store, memory } = this.#context;
    const entry = this.#find(index);
    if (entry === undefined) {
      this.#noteLost(index);
      return undefined;
    }
    if (!entry.mustReadWhole) {
      return store.readPart(entry, start, end - start);
    }
    const part = (content: Uint8Array | undefined) => {
      if (content !== undefined && !this.#ended) {
        memory.setChunk(this.#chunks[index]!, content);
      }
      return content?.subarray(start, end);
    };
    const content = store.readWhole(entry, this.#expectedCheck(index));
    return content instanceof Promise ? content.then(part) : part(content);
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
    return this.#chunks[index]!.fetch !== undefined || this.#find(index) !== undefined;
  }

  /** Fetches the chunks from `from` up to, not including, `to`. */
  #fetch(from: number, to: number): void {
    const { pool, chunkSizeBytes, statistics } = this.#context;
    const offset = from * chunkSizeBytes;
    const arrivals = this.#chunks.slice(from, to).map((chunk) => {
      const arrival = Promise.withResolvers<Uint8Array>();
      chunk.fetch = arrival.promise;
      // Perhaps nobody waits for what is read ahead.
      arrival.promise.catch(() => {});
      return arrival;
    });
    const fail = (index: number, error: unknown) => {
      const { promise, reject } = arrivals[index - from]!;
      if (this.#chunks[index]!.fetch === promise) {
        this.#chunks[index]!.fetch = undefined;
      }
      reject(error);
    };
    pool
      .run(
        {
          kind: "fetchRange",
          server: this.#route.server,
          digest: this.#portable,
          offset,
          length: Math.min(to * chunkSizeBytes, this.digest.sizeBytes) - offset,
          chunkSizeBytes,
        },
        {
          chunk: (index, frame) => {
            const { promise, resolve } = arrivals[index - from]!;
            // Else it came before, from a thread that died.
            if (this.#chunks[index]!.fetch === promise) {
              this.#arrived(index, frame).then(resolve, (error) => fail(index, error));
            }
          },
        },
      )
      .catch((error: unknown) => {
        const failure = blobFailure(this.digest, asBlobError(error, "ByteStream.Read"));
        if (failure.code === Code.DATA_LOSS) {
          statistics.corruptBlobs++;
        }
        for (let index = from; index < to; index++) {
          fail(index, failure);
        }
      });
  }

  async #arrived(index: number, frame: Buffer<ArrayBuffer>): Promise<Uint8Array> {
    const { memory, statistics } = this.#context;
    const chunk = this.#chunks[index]!;
    const content = contentOf(frame, this.#length(index));
    statistics.chunksFetched++;
    statistics.bytesFetched += content.length;
    const expected = this.#expectedCheck(index);
    if (expected !== undefined && !frameCheck(frame).equals(expected)) {
      statistics.corruptBlobs++;
      throw corrupt(this.digest, `chunk ${index} is another one than before`);
    }
    if (this.#ended) {
      chunk.fetch = undefined;
      return content;
    }
    memory.setChunk(chunk, content);
    this.#put(index, frame);
    if (this.#verification !== undefined) {
      await this.#verification;
    }
    return content;
  }

  /** Once the last chunk is put, the verification is on its way. */
  #put(index: number, frame: Buffer<ArrayBuffer>): void {
    const { store } = this.#context;
    const chunk = this.#chunks[index]!;
    const kept = store.put([{ key: this.#keys(index)[0]!, frame, contentBytes: this.#length(index) }]);
    if (!(kept instanceof Promise)) {
      chunk.fetch = undefined;
      if (kept) {
        this.#noteStored(index);
      }
      return;
    }
    const put = kept.then((kept) => {
      chunk.fetch = undefined;
      if (!kept) {
        this.#noteLost(index);
      }
      this.#puts.delete(put);
    });
    this.#puts.add(put);
    this.#noteStored(index);
  }

  #noteStored(index: number): void {
    const chunk = this.#chunks[index]!;
    if (this.#checks !== undefined || chunk.stored) {
      return;
    }
    chunk.stored = true;
    this.#missing--;
    if (this.#missing === 0) {
      this.#verification = this.#verify().finally(() => {
        this.#verification = undefined;
      });
      this.#verification.catch(() => {});
    }
  }

  #noteLost(index: number): void {
    const chunk = this.#chunks[index]!;
    if (chunk.stored) {
      chunk.stored = false;
      this.#missing++;
    }
  }

  /** Resolves when the whole has been hashed, or cannot be, as not all of it is in the store. */
  async #verify(): Promise<void> {
    const { pool, store, statistics, chunkSizeBytes } = this.#context;
    await Promise.all(this.#puts);
    await this.#checkStored();
    const entries = this.#findAll();
    if (entries === undefined) {
      return;
    }
    try {
      const checks = await verifyStored(store, pool, this.#portable, entries, chunkSizeBytes);
      if (checks !== undefined) {
        this.#checks = checks;
        const frame = frameOf(checks, store.identity);
        store.put([{ key: this.#checksKeys[0], frame, contentBytes: checks.length }]);
      }
    } catch (error) {
      const failure = blobFailure(this.digest, asBlobError(error, "verification"));
      if (failure.code === Code.DATA_LOSS) {
        statistics.corruptBlobs++;
      }
      for (const index of this.#chunks.keys()) {
        store.delete(this.#keys(index));
      }
      this.forget();
      this.#context.ended(this);
      throw failure;
    }
  }

  /** What an earlier run left may have been damaged since then, which is not storage's fault. */
  async #checkStored(): Promise<void> {
    for (const index of this.#chunks.keys()) {
      const entry = this.#find(index);
      if (entry?.mustReadWhole) {
        await this.#context.store.readWhole(entry);
      }
    }
  }

  /** The entries of all chunks; undefined if one is not there any more. */
  #findAll(): StoredEntry[] | undefined {
    const entries: StoredEntry[] = [];
    for (const index of this.#chunks.keys()) {
      const entry = this.#find(index);
      if (entry === undefined) {
        this.#noteLost(index);
      } else {
        entries.push(entry);
      }
    }
    return entries.length === this.#chunks.length ? entries : undefined;
  }
}

function corrupt(digest: Digest, why: string): BlobError {
  return new BlobError(Code.DATA_LOSS, `${blobName(digest)} is corrupt: ${why}`, digest);
}
