import type { MaybePromise } from "../../nfs/file-system.ts";
import type { FilePool, PoolFile } from "./file-pool.ts";

const EMPTY = Buffer.alloc(0);
const SMALLEST_BUFFER_BYTES = 256;

/** Memory for the content of small files, shared by all files of a tree. */
export class MemoryBudget {
  readonly #limitBytes: number;
  #usedBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** False if less than that is left. */
  tryReserve(bytes: number): boolean {
    if (this.#usedBytes + bytes > this.#limitBytes) {
      return false;
    }
    this.#usedBytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#usedBytes -= bytes;
  }
}

/** Where written bytes go; one for the whole tree. */
export interface WriteSpace {
  readonly pool: FilePool;
  readonly memory: MemoryBudget;
  /** A file with bytes at this offset or beyond goes to the pool. */
  readonly smallFileBytes: number;
}

/**
 * Keeps the bytes that an action has written to a file, at their offsets: in memory while the offsets are small and
 * memory lasts, else in a file of the pool. Bytes never written have no defined value. Methods throw what the pool
 * throws.
 */
export class OwnBytes {
  readonly #space: WriteSpace;
  #memory = EMPTY;
  #pooled: PoolFile | undefined;

  constructor(space: WriteSpace) {
    this.#space = space;
  }

  /** Fills `target` from `offset` on. */
  readInto(offset: number, target: Buffer): MaybePromise<void> {
    if (this.#pooled !== undefined) {
      return this.#pooled.read(offset, target);
    }
    this.#memory.copy(target, 0, offset, offset + target.length);
  }

  /** `data` must not change until the promise settles. */
  write(offset: number, data: Uint8Array): MaybePromise<void> {
    if (this.#pooled === undefined) {
      if (this.#growMemory(offset + data.length)) {
        this.#memory.set(data, offset);
        return;
      }
      this.#pooled = this.#spill();
    }
    return this.#pooled.write(offset, data);
  }

  /** Frees the space beyond `size`, or most of it. */
  shrink(size: number): MaybePromise<void> {
    if (size === 0) {
      this.#releaseMemory();
      this.#pooled?.close();
      this.#pooled = undefined;
      return;
    }
    return this.#pooled?.shrink(size);
  }

  #growMemory(end: number): boolean {
    const { memory, smallFileBytes } = this.#space;
    if (end > smallFileBytes) {
      return false;
    }
    const old = this.#memory;
    if (end > old.length) {
      let capacity = Math.max(old.length, SMALLEST_BUFFER_BYTES);
      while (capacity < end) {
        capacity *= 2;
      }
      if (!memory.tryReserve(capacity - old.length)) {
        return false;
      }
      this.#memory = Buffer.alloc(capacity);
      this.#memory.set(old);
    }
    return true;
  }

  #spill(): PoolFile {
    const file = this.#space.pool.open();
    try {
      file.writeNow(0, this.#memory);
    } catch (error) {
      file.close();
      throw error;
    }
    this.#releaseMemory();
    return file;
  }

  #releaseMemory(): void {
    this.#space.memory.release(this.#memory.length);
    this.#memory = EMPTY;
  }
}
