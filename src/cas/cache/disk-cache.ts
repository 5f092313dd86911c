import { mkdir, readdir, readFile, rm, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { LRUCache } from "lru-cache";
import { type Digest, digestKey } from "../../reapi/digest.ts";
import { OpenFile } from "./open-file.ts";
import { acquireProcessLock, releaseProcessLock } from "./process-lock.ts";

export interface DiskCacheOptions {
  /** Made if it does not exist. Belongs to one process at a time. */
  readonly directory: string;
  readonly maximumSizeBytes: number;
  readonly maximumCount: number;
}

/** A blob's file. Only its owner in the cache changes it. */
export interface DiskEntry {
  readonly key: string;
  /** Where the file is while it is not complete. */
  readonly partialPath?: string;
  /** Whether this process has hashed the content. Files of earlier runs are checked when they are first used. */
  verified: boolean;
  /** Called when the file is removed. */
  readonly evicted?: () => void;
}

const MAXIMUM_OPEN_FILES = 256;
const KEY_PATTERN = /^[a-z0-9]+-[0-9a-f]+-\d+$/;

/**
 * Keeps blobs in files of a local directory; removes the least recently used when there are too many.
 *
 *     blobs/HH/FUNCTION-HASH-SIZE   complete and verified content; HH are the hash's first two digits
 *     partial/…                     what is being fetched; nothing there outlives the process
 *     order                         the keys from least to most recently used, written when the cache is closed
 *     owner                         the process that uses the directory
 *
 * A file is renamed into `blobs` once its content has been verified. As nothing is synced, it may still be empty
 * or short after a crash of the machine; so what an earlier run left is hashed again before its first use. A
 * single blob may be larger than the cache: it is kept until another one comes.
 */
export class DiskCache {
  readonly #directory: string;
  readonly #maximumSizeBytes: number;
  readonly #maximumCount: number;
  readonly #entries: LRUCache<string, DiskEntry>;
  readonly #openFiles: LRUCache<string, OpenFile>;
  readonly #removals = new Set<Promise<void>>();
  #lastTemporary = 0;

  private constructor({ directory, maximumSizeBytes, maximumCount }: DiskCacheOptions) {
    this.#directory = directory;
    this.#maximumSizeBytes = maximumSizeBytes;
    this.#maximumCount = maximumCount;
    this.#entries = new LRUCache<string, DiskEntry>({
      // #evict() applies the bounds, as this cache would refuse whatever is larger than its maximum.
      maxSize: Number.MAX_SAFE_INTEGER,
      dispose: (entry, key, reason) => {
        if (reason === "set") {
          return;
        }
        this.#openFiles.delete(key);
        this.#remove(this.pathOf(entry));
        entry.evicted?.();
      },
    });
    this.#openFiles = new LRUCache({ max: MAXIMUM_OPEN_FILES, dispose: (file) => file.close() });
  }

  /**
   * Takes over what an earlier run left. Rejects with an Error if the directory is unusable, or in use by another
   * process.
   */
  static async open(options: DiskCacheOptions): Promise<DiskCache> {
    const cache = new DiskCache(options);
    await mkdir(options.directory, { recursive: true, mode: 0o700 });
    await acquireProcessLock(cache.#ownerFile, `the blob cache ${options.directory}`);
    await rm(cache.#partialDirectory, { recursive: true, force: true });
    await mkdir(cache.#partialDirectory, { recursive: true, mode: 0o700 });
    await cache.#index();
    return cache;
  }

  get sizeBytes(): number {
    return this.#entries.calculatedSize;
  }

  get count(): number {
    return this.#entries.size;
  }

  get #ownerFile(): string {
    return join(this.#directory, "owner");
  }

  get #partialDirectory(): string {
    return join(this.#directory, "partial");
  }

  /** Where a complete blob is, or will be. */
  blobPath(key: string): string {
    const hashStart = key.indexOf("-") + 1;
    return join(this.#directory, "blobs", key.slice(hashStart, hashStart + 2), key);
  }

  pathOf({ key, partialPath }: DiskEntry): string {
    return partialPath ?? this.blobPath(key);
  }

  /** A new path for a file that is not complete. */
  temporaryPath(): string {
    return join(this.#partialDirectory, String(++this.#lastTemporary));
  }

  /** Counts as a use. */
  get(key: string): DiskEntry | undefined {
    return this.#entries.get(key);
  }

  /** Whether there is such a blob. Does not count as a use. */
  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** Takes over a file of the given size, or notes that it has grown. */
  set(entry: DiskEntry, sizeBytes: number): void {
    this.#entries.set(entry.key, entry, { size: Math.max(1, sizeBytes) });
    this.#evict();
  }

  /** Takes over a verified file that is at its {@link blobPath}. */
  add(digest: Digest): void {
    const key = digestKey(digest);
    this.set({ key, verified: true }, digest.sizeBytes);
  }

  /**
   * Takes over a partial file that has been completed and renamed to its {@link blobPath}. If it was evicted
   * meanwhile it comes back, unless somebody has begun to fetch it anew.
   */
  complete(partial: DiskEntry, digest: Digest): void {
    const current = this.#entries.peek(partial.key);
    if (current === undefined || current === partial) {
      this.add(digest);
    }
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }

  /** Throws an Error if the file is gone, or not as long as it must be. The cache closes it. */
  openFile(entry: DiskEntry, sizeBytes: number): OpenFile {
    const { key } = entry;
    const open = this.#openFiles.get(key);
    if (open !== undefined) {
      return open;
    }
    const path = this.pathOf(entry);
    const file = new OpenFile(path);
    if (file.sizeBytes !== sizeBytes) {
      file.close();
      throw new Error(`${path} has not ${sizeBytes} bytes`);
    }
    this.#openFiles.set(key, file);
    return file;
  }

  async close(): Promise<void> {
    this.#openFiles.clear();
    const keys = [...this.#entries.rkeys()].filter((key) => this.#entries.peek(key)?.evicted === undefined);
    // The order is a convenience: without it, the next start makes one up.
    await writeFile(join(this.#directory, "order"), keys.join("\n"), { mode: 0o600 }).catch(() => {});
    await Promise.all(this.#removals);
    await rm(this.#partialDirectory, { recursive: true, force: true });
    await releaseProcessLock(this.#ownerFile);
  }

  async #index(): Promise<void> {
    const order = await readFile(join(this.#directory, "order"), "latin1").catch(() => "");
    const found = new Set<string>();
    for (let shard = 0; shard < 256; shard++) {
      const start = shard.toString(16).padStart(2, "0");
      const directory = join(this.#directory, "blobs", start);
      await mkdir(directory, { recursive: true, mode: 0o700 });
      for (const name of await readdir(directory)) {
        if (KEY_PATTERN.test(name) && name.startsWith(start, name.indexOf("-") + 1)) {
          found.add(name);
        }
      }
    }
    const known = order === "" ? [] : order.split("\n").filter((key) => found.delete(key));
    for (const keys of [found, known]) {
      for (const key of keys) {
        const sizeBytes = Number(key.slice(key.lastIndexOf("-") + 1));
        this.set({ key, verified: false }, sizeBytes);
      }
    }
  }

  /** Best effort: what cannot be removed now is found by the next start. */
  #remove(path: string): void {
    const removal = unlink(path)
      .catch(() => {})
      .finally(() => this.#removals.delete(removal));
    this.#removals.add(removal);
  }

  #evict(): void {
    while (
      this.#entries.size > 1 &&
      (this.#entries.calculatedSize > this.#maximumSizeBytes || this.#entries.size > this.#maximumCount)
    ) {
      this.#entries.pop();
    }
  }
}
