import { mkdirSync, renameSync, rmSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { mkdir, open, readdir, readFile, rm, unlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { LRUCache } from "lru-cache";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { BlobError } from "../../reapi/blob-error.ts";
import {
  computeDigest,
  DIGEST_FUNCTIONS,
  type Digest,
  digestKey,
  type IncrementalHash,
} from "../../reapi/digest.ts";
import { KnownBlobs, storedBytes } from "./known-blobs.ts";

export interface BlobStoreOptions {
  /** Where blobs live; made if it does not exist. One process at a time may use it. */
  readonly folder: string;
  /** How many bytes of small blobs are kept in memory. Default 64 MiB. */
  readonly memoryBytes?: number;
  /** What all blobs together may take on the disk. Default: any number of bytes. */
  readonly maximumBytes?: number | undefined;
}

/** Blobs up to this size are worth keeping in memory. */
const SMALL_BLOB_BYTES = 64 * 1024;
const DEFAULT_MEMORY_BYTES = 64 * 1024 * 1024;
const READ_CHUNK_BYTES = 256 * 1024;
/** When the store is full, this much of it is freed, so that not every upload has to look for what is needed. */
const FREED_SHARE = 0.1;
const DELETED_A_TURN = 64;
/** Every store has the empty blob (REAPI, Digest). */
const NOTHING = new Uint8Array(0);

/**
 * Blobs in a folder, one file each, named by digest: `FUNCTION/HH/HASH-SIZE` with HH the hash's first two
 * digits. A file appears under its name only when it is complete and its hash has been verified. Which blobs
 * exist is known in memory. Instance names make no difference: equal content is stored once.
 *
 * If the store is full, the blobs that were used longest ago go, but none that is {@link needed}: an upload for which
 * there is no room then is refused with RESOURCE_EXHAUSTED. Asking whether a blob is there is a use. Which blobs were used
 * before is forgotten when the store is closed.
 */
export class BlobStore {
  readonly folder: string;
  /** The keys of the blobs that must not go now, which is asked again and again while others go. */
  needed: () => { keys(): Promise<ReadonlySet<string>> } = () => ({ keys: async () => new Set() });
  readonly #known = new KnownBlobs();
  readonly #empty = new Set<string>();
  readonly #maximumBytes: number;
  readonly #small: LRUCache<string, Uint8Array>;
  #temporaryFiles = 0;
  /** Of the blobs that are being written. */
  #reservedBytes = 0;
  #freeing: Promise<void> | undefined;

  private constructor(folder: string, memoryBytes: number, maximumBytes: number) {
    this.folder = folder;
    this.#maximumBytes = maximumBytes;
    this.#small = new LRUCache({
      maxSize: memoryBytes,
      sizeCalculation: (blob) => blob.length + 200,
    });
  }

  static async open({ folder, memoryBytes, maximumBytes }: BlobStoreOptions): Promise<BlobStore> {
    const store = new BlobStore(
      folder,
      memoryBytes ?? DEFAULT_MEMORY_BYTES,
      maximumBytes ?? Number.POSITIVE_INFINITY,
    );
    await rm(join(folder, "tmp"), { recursive: true, force: true });
    await mkdir(join(folder, "tmp"), { recursive: true });
    for (const digestFunction of DIGEST_FUNCTIONS) {
      store.#empty.add(digestKey(computeDigest("", digestFunction, NOTHING)));
      const shards = join(folder, digestFunction.name);
      await mkdir(shards, { recursive: true });
      await Promise.all(
        (await readdir(shards)).map(async (shard) => {
          for (const name of await readdir(join(shards, shard))) {
            store.#known.add(`${digestFunction.name}-${name}`, Number(name.slice(name.indexOf("-") + 1)));
          }
        }),
      );
    }
    return store;
  }

  /** What the blobs take, counted in blocks of the file system. */
  get bytes(): number {
    return this.#known.bytes;
  }

  has(digest: Digest): boolean {
    const key = digestKey(digest);
    return this.#known.use(key) || this.#empty.has(key);
  }

  /**
   * The whole blob, which must not be written to. Meant for small ones.
   *
   * Rejects with {@link BlobError} NOT_FOUND.
   */
  async read(digest: Digest): Promise<Uint8Array> {
    const key = digestKey(digest);
    const cached = this.#small.get(key);
    if (cached) {
      this.#known.use(key);
      return cached;
    }
    this.#mustHave(digest);
    if (digest.sizeBytes === 0) {
      return NOTHING;
    }
    const content = await readFile(this.path(digest)).catch((error) => this.#lost(digest, error));
    if (content.length !== digest.sizeBytes) {
      this.#lost(digest);
    }
    if (content.length <= SMALL_BLOB_BYTES) {
      this.#small.set(key, content);
    }
    return content;
  }

  /**
   * `limit` bytes from `offset` on, fewer at the blob's end, in chunks of at most 256 KiB.
   *
   * Throws {@link BlobError}: NOT_FOUND, or OUT_OF_RANGE for an offset beyond the end.
   */
  async *stream(digest: Digest, offset = 0, limit = Number.POSITIVE_INFINITY): AsyncGenerator<Uint8Array> {
    this.#mustHave(digest);
    if (offset > digest.sizeBytes) {
      throw new BlobError(
        Code.OUT_OF_RANGE,
        `offset ${offset} is beyond the end of blob ${digestKey(digest)}`,
        digest,
      );
    }
    const end = Math.min(digest.sizeBytes, offset + limit);
    if (digest.sizeBytes <= SMALL_BLOB_BYTES) {
      yield (await this.read(digest)).subarray(offset, end);
      return;
    }
    await using file = await open(this.path(digest)).catch((error) => this.#lost(digest, error));
    for (let position = offset; position < end; ) {
      const chunk = Buffer.allocUnsafeSlow(Math.min(READ_CHUNK_BYTES, end - position));
      const { bytesRead } = await file.read(chunk, 0, chunk.length, position);
      if (bytesRead === 0) {
        this.#lost(digest);
      }
      position += bytesRead;
      yield chunk.subarray(0, bytesRead);
    }
  }

  /**
   * Stores a blob that is in memory.
   *
   * Rejects with {@link BlobError}: INVALID_ARGUMENT if content and digest do not match, RESOURCE_EXHAUSTED.
   */
  async put(digest: Digest, content: Uint8Array): Promise<void> {
    requireMatch(digest, computeDigest(digest.instanceName, digest.function, content));
    if (this.has(digest)) {
      return;
    }
    const release = await this.#reserve(digest);
    try {
      const temporary = this.temporaryPath();
      await writeFile(temporary, content);
      this.#adopt(digest, temporary);
    } finally {
      release();
    }
    if (content.length <= SMALL_BLOB_BYTES) {
      this.#small.set(digestKey(digest), Buffer.from(content));
    }
  }

  /**
   * Begins to store a blob that comes in pieces. The caller commits or aborts it. Rejects with {@link BlobError}
   * RESOURCE_EXHAUSTED.
   */
  async startWrite(digest: Digest): Promise<BlobWriter> {
    const release = await this.#reserve(digest);
    try {
      const path = this.temporaryPath();
      const file = await open(path, "wx");
      return new BlobWriter(digest, path, file, {
        adopt: () => this.#adopt(digest, path),
        ended: release,
      });
    } catch (error) {
      release();
      throw error;
    }
  }

  /**
   * Takes over a blob whose complete and verified file somebody else has put at `path(digest)`. If the store is too full
   * then, the next upload makes room.
   */
  noteStored(digest: Digest): void {
    this.#known.add(digestKey(digest), digest.sizeBytes);
  }

  async delete(digest: Digest): Promise<void> {
    this.#forget(digest);
    await rm(this.path(digest), { force: true });
  }

  /** Where the blob's file is, or will be. */
  path(digest: Digest): string {
    return this.#pathOf(digestKey(digest));
  }

  /** The path of a file to be made, on the same file system as the blobs. */
  temporaryPath(): string {
    return join(this.folder, "tmp", String(this.#temporaryFiles++));
  }

  /** Without a pause between file and note, in which the file could be freed. */
  #adopt(digest: Digest, temporaryPath: string): void {
    const path = this.path(digest);
    mkdirSync(dirname(path), { recursive: true });
    renameSync(temporaryPath, path);
    this.#known.add(digestKey(digest), digest.sizeBytes);
  }

  /** Makes room for a blob, until the returned function is called. */
  async #reserve(digest: Digest): Promise<() => void> {
    const bytes = storedBytes(digest.sizeBytes);
    for (let tries = 0; !this.#fits(bytes) && bytes <= this.#maximumBytes && tries < 2; tries++) {
      this.#freeing ??= this.#free(bytes).finally(() => {
        this.#freeing = undefined;
      });
      await this.#freeing;
    }
    if (!this.#fits(bytes)) {
      throw new BlobError(
        Code.RESOURCE_EXHAUSTED,
        `there is no room for blob ${digestKey(digest)} in the ${this.#maximumBytes} bytes of the storage`,
        digest,
      );
    }
    this.#reservedBytes += bytes;
    return () => {
      this.#reservedBytes -= bytes;
    };
  }

  #fits(bytes: number): boolean {
    return this.#known.bytes + this.#reservedBytes + bytes <= this.#maximumBytes;
  }

  /** Deletes what was used longest ago, until there is room for so many bytes and some more. */
  async #free(bytes: number): Promise<void> {
    const wanted = Math.max(bytes, this.#maximumBytes * FREED_SHARE);
    const needs = this.needed();
    let needed = await needs.keys();
    let left = this.#known.count;
    let deleted = 0;
    // What is used meanwhile moves to the end.
    for (const key of this.#known.keys()) {
      if (left-- === 0 || this.#fits(wanted)) {
        return;
      }
      if (needed.has(key)) {
        this.#known.use(key);
        continue;
      }
      this.#known.delete(key);
      this.#small.delete(key);
      rmSync(this.#pathOf(key), { force: true });
      if (++deleted % DELETED_A_TURN === 0) {
        await setImmediate();
        needed = await needs.keys();
      }
    }
  }

  #forget(digest: Digest): void {
    this.#known.delete(digestKey(digest));
    this.#small.delete(digestKey(digest));
  }

  #pathOf(key: string): string {
    const [functionName, hash, sizeBytes] = key.split("-");
    return join(this.folder, functionName!, hash!.slice(0, 2), `${hash}-${sizeBytes}`);
  }

  #mustHave(digest: Digest): void {
    if (!this.has(digest)) {
      throw notFound(digest);
    }
  }

  /** The file is gone or too short, as after a power failure: the blob counts as missing from now on. */
  #lost(digest: Digest, cause?: unknown): never {
    this.#forget(digest);
    throw notFound(digest, cause === undefined ? {} : { cause });
  }
}

/** One blob on its way into the store. Its content is on disk only, under a temporary name. */
export class BlobWriter {
  readonly digest: Digest;
  /** Bytes written so far. */
  committedSize = 0;
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #hash: IncrementalHash;
  readonly #store: { adopt(): void; ended(): void };

  /** `store` is told of the complete file, and, in any case, of the end. */
  constructor(digest: Digest, path: string, file: FileHandle, store: { adopt(): void; ended(): void }) {
    this.digest = digest;
    this.#path = path;
    this.#file = file;
    this.#store = store;
    this.#hash = digest.function.createHash(digest.sizeBytes);
  }

  /**
   * Appends. Rejects with {@link BlobError} INVALID_ARGUMENT as soon as there is more content than the digest says.
   */
  async write(chunk: Uint8Array): Promise<void> {
    if (this.committedSize + chunk.length > this.digest.sizeBytes) {
      throw new BlobError(
        Code.INVALID_ARGUMENT,
        `more data than the ${this.digest.sizeBytes} bytes of blob ${digestKey(this.digest)}`,
        this.digest,
      );
    }
    this.#hash.update(chunk);
    for (let done = 0; done < chunk.length; ) {
      const { bytesWritten } = await this.#file.write(chunk, done);
      done += bytesWritten;
    }
    this.committedSize += chunk.length;
  }

  /**
   * Makes the blob part of the store. Rejects with {@link BlobError} INVALID_ARGUMENT if the content is not the
   * digest's. Either way, the writer cannot be used any more.
   */
  async commit(): Promise<void> {
    try {
      await this.#file.close();
      const actual = { ...this.digest, hash: this.#hash.digest("hex"), sizeBytes: this.committedSize };
      try {
        requireMatch(this.digest, actual);
      } catch (error) {
        await unlink(this.#path);
        throw error;
      }
      this.#store.adopt();
    } finally {
      this.#store.ended();
    }
  }

  async abort(): Promise<void> {
    try {
      await this.#file.close();
      await rm(this.#path, { force: true });
    } finally {
      this.#store.ended();
    }
  }
}

function requireMatch(expected: Digest, actual: Digest): void {
  if (expected.hash === actual.hash && expected.sizeBytes === actual.sizeBytes) {
    return;
  }
  throw new BlobError(
    Code.INVALID_ARGUMENT,
    `content has digest ${digestKey(actual)}, but was to be stored as ${digestKey(expected)}`,
    expected,
  );
}

function notFound(digest: Digest, options?: ErrorOptions): BlobError {
  return new BlobError(Code.NOT_FOUND, `blob ${digestKey(digest)} is not in the CAS`, digest, options);
}
