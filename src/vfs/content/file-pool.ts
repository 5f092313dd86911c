import { randomUUID } from "node:crypto";
import {
  closeSync,
  ftruncate,
  mkdirSync,
  openSync,
  read,
  readFileSync,
  statfsSync,
  unlinkSync,
  write,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { MaybePromise } from "../../nfs/file-system.ts";

/** Where the content of written files is kept once it is too large for memory. */
export interface FilePool {
  /** Opens an empty file. Throws the operating system's error if it cannot. */
  open(): PoolFile;
  /** Bytes, as statfs(2) reports them. */
  space(): { totalBytes: number; freeBytes: number };
}

/** One file of the pool; sparse. It has one owner, who closes it. */
export interface PoolFile {
  /** Fills `target` from `position` on; beyond the end of the file it reads zeros. */
  read(position: number, target: Buffer): MaybePromise<void>;
  /** Writes all of `data`, which must not change until the promise settles. */
  write(position: number, data: Uint8Array): MaybePromise<void>;
  /** Like {@link write}, but done on return. */
  writeNow(position: number, data: Uint8Array): void;
  /** Frees the space beyond `size`. */
  shrink(size: number): MaybePromise<void>;
  /** Frees all space once the operations under way have ended. */
  close(): void;
}

/** Descriptors that the pool leaves for the sockets and files of the rest of the process. */
const OTHER_DESCRIPTORS = 512;

/**
 * Keeps each file as an unlinked file of the operating system, so that a crash leaves nothing behind. The folder must
 * exist, or its parent. It is for scratch data: nothing is ever synced.
 *
 * Each file takes a descriptor. Beyond `maximumFiles` (default: RLIMIT_NOFILE less 512), opening one fails with EMFILE,
 * before the worker's sockets do.
 */
export class DirectoryFilePool implements FilePool {
  readonly #folder: string;
  readonly #maximumFiles: number;
  #files = 0;

  constructor(folder: string, maximumFiles = descriptorsForFiles()) {
    mkdirSync(folder, { recursive: true });
    this.#folder = folder;
    this.#maximumFiles = maximumFiles;
  }

  open(): PoolFile {
    if (this.#files >= this.#maximumFiles) {
      throw Object.assign(
        new Error(`the file pool has ${this.#files} files open; raise RLIMIT_NOFILE to allow more`),
        { code: "EMFILE" },
      );
    }
    const path = join(this.#folder, randomUUID());
    const descriptor = openSync(path, "wx+", 0o600);
    try {
      unlinkSync(path);
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
    this.#files++;
    return new UnlinkedFile(descriptor, () => this.#files--);
  }

  space(): { totalBytes: number; freeBytes: number } {
    const { bsize, blocks, bavail } = statfsSync(this.#folder);
    return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
  }
}

/** At least half the limit, if that is too low to leave the rest of the process all that it should have. */
function descriptorsForFiles(): number {
  const limit = Number(/^Max open files +([0-9]+)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1]);
  return Number.isNaN(limit)
    ? Number.POSITIVE_INFINITY
    : Math.max(limit - OTHER_DESCRIPTORS, Math.floor(limit / 2));
}

class UnlinkedFile implements PoolFile {
  readonly #descriptor: number;
  readonly #onClosed: () => void;
  #underWay = 0;
  #closed = false;

  constructor(descriptor: number, onClosed: () => void) {
    this.#descriptor = descriptor;
    this.#onClosed = onClosed;
  }

  async read(position: number, target: Buffer): Promise<void> {
    this.#begin();
    try {
      let filled = 0;
      while (filled < target.length) {
        const count = await readSome(this.#descriptor, target, filled, position + filled);
        if (count === 0) {
          target.fill(0, filled);
          return;
        }
        filled += count;
      }
    } finally {
      this.#end();
    }
  }

  async write(position: number, data: Uint8Array): Promise<void> {
    this.#begin();
    try {
      let written = 0;
      while (written < data.length) {
        written += await writeSome(this.#descriptor, data, written, position + written);
      }
    } finally {
      this.#end();
    }
  }

  writeNow(position: number, data: Uint8Array): void {
    let written = 0;
    while (written < data.length) {
      written += writeSync(this.#descriptor, data, written, data.length - written, position + written);
    }
  }

  async shrink(size: number): Promise<void> {
    this.#begin();
    try {
      await new Promise<void>((resolve, reject) => {
        ftruncate(this.#descriptor, size, (error) => (error === null ? resolve() : reject(error)));
      });
    } finally {
      this.#end();
    }
  }

  close(): void {
    this.#closed = true;
    if (this.#underWay === 0) {
      this.#closeDescriptor();
    }
  }

  #begin(): void {
    if (this.#closed) {
      throw new Error("the file of the file pool is closed");
    }
    this.#underWay++;
  }

  /** Closes only after the last operation: a closed descriptor's number may at once be another file's. */
  #end(): void {
    this.#underWay--;
    if (this.#closed && this.#underWay === 0) {
      this.#closeDescriptor();
    }
  }

  #closeDescriptor(): void {
    closeSync(this.#descriptor);
    this.#onClosed();
  }
}

function readSome(descriptor: number, target: Buffer, offset: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(descriptor, target, offset, target.length - offset, position, (error, count) =>
      error === null ? resolve(count) : reject(error),
    );
  });
}

function writeSome(descriptor: number, data: Uint8Array, offset: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(descriptor, data, offset, data.length - offset, position, (error, count) =>
      error === null ? resolve(count) : reject(error),
    );
  });
}

/** Keeps files in memory; for tests and for workers without a disk. */
export class MemoryFilePool implements FilePool {
  readonly #capacityBytes: number;
  #usedBytes = 0;

  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  open(): PoolFile {
    return new MemoryFile((bytes) => {
      if (bytes > 0 && this.#usedBytes + bytes > this.#capacityBytes) {
        throw Object.assign(new Error("the file pool in memory is full"), { code: "ENOSPC" });
      }
      this.#usedBytes += bytes;
    });
  }

  space(): { totalBytes: number; freeBytes: number } {
    return { totalBytes: this.#capacityBytes, freeBytes: this.#capacityBytes - this.#usedBytes };
  }
}

const MEMORY_CHUNK_BYTES = 64 * 1024;

class MemoryFile implements PoolFile {
  readonly #resize: (bytes: number) => void;
  readonly #chunks = new Map<number, Buffer>();

  constructor(resize: (bytes: number) => void) {
    this.#resize = resize;
  }

  read(position: number, target: Buffer): void {
    for (let done = 0; done < target.length; ) {
      const index = Math.floor((position + done) / MEMORY_CHUNK_BYTES);
      const offset = position + done - index * MEMORY_CHUNK_BYTES;
      const count = Math.min(target.length - done, MEMORY_CHUNK_BYTES - offset);
      const chunk = this.#chunks.get(index);
      if (chunk === undefined) {
        target.fill(0, done, done + count);
      } else {
        chunk.copy(target, done, offset, offset + count);
      }
      done += count;
    }
  }

  write(position: number, data: Uint8Array): void {
    this.writeNow(position, data);
  }

  writeNow(position: number, data: Uint8Array): void {
    for (let done = 0; done < data.length; ) {
      const index = Math.floor((position + done) / MEMORY_CHUNK_BYTES);
      const offset = position + done - index * MEMORY_CHUNK_BYTES;
      const count = Math.min(data.length - done, MEMORY_CHUNK_BYTES - offset);
      let chunk = this.#chunks.get(index);
      if (chunk === undefined) {
        this.#resize(MEMORY_CHUNK_BYTES);
        chunk = Buffer.alloc(MEMORY_CHUNK_BYTES);
        this.#chunks.set(index, chunk);
      }
      chunk.set(data.subarray(done, done + count), offset);
      done += count;
    }
  }

  shrink(size: number): void {
    for (const index of this.#chunks.keys()) {
      if (index * MEMORY_CHUNK_BYTES >= size) {
        this.#chunks.delete(index);
        this.#resize(-MEMORY_CHUNK_BYTES);
      }
    }
  }

  close(): void {
    this.shrink(0);
  }
}
