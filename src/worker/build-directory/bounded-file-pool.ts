import type { FilePool, PoolFile } from "../../vfs/index.ts";

/** A file pool whose files together take a limited number of bytes; a write beyond that fails with ENOSPC. */
export class BoundedFilePool implements FilePool {
  readonly #base: FilePool;
  readonly #maximumSizeBytes: number;
  #usedBytes = 0;

  constructor(base: FilePool, maximumSizeBytes: number) {
    this.#base = base;
    this.#maximumSizeBytes = maximumSizeBytes;
  }

  open(): PoolFile {
    return new BoundedFile(this.#base.open(), (bytes) => this.#resize(bytes));
  }

  space(): { totalBytes: number; freeBytes: number } {
    const { totalBytes, freeBytes } = this.#base.space();
    return {
      totalBytes: Math.min(totalBytes, this.#maximumSizeBytes),
      freeBytes: Math.min(freeBytes, this.#maximumSizeBytes - this.#usedBytes),
    };
  }

  #resize(bytes: number): void {
    if (bytes > 0 && this.#usedBytes + bytes > this.#maximumSizeBytes) {
      throw Object.assign(new Error(`the file pool's ${this.#maximumSizeBytes} bytes are used up`), {
        code: "ENOSPC",
      });
    }
    this.#usedBytes += bytes;
  }
}

/** Counts all bytes up to the end of what was written, holes included. */
class BoundedFile implements PoolFile {
  readonly #base: PoolFile;
  readonly #resize: (bytes: number) => void;
  #size = 0;

  constructor(base: PoolFile, resize: (bytes: number) => void) {
    this.#base = base;
    this.#resize = resize;
  }

  read(position: number, target: Buffer): void | Promise<void> {
    return this.#base.read(position, target);
  }

  write(position: number, data: Uint8Array): void | Promise<void> {
    this.#grow(position + data.length);
    return this.#base.write(position, data);
  }

  writeNow(position: number, data: Uint8Array): void {
    this.#grow(position + data.length);
    this.#base.writeNow(position, data);
  }

  shrink(size: number): void | Promise<void> {
    if (size < this.#size) {
      this.#resize(size - this.#size);
      this.#size = size;
    }
    return this.#base.shrink(size);
  }

  close(): void {
    this.#resize(-this.#size);
    this.#size = 0;
    this.#base.close();
  }

  #grow(end: number): void {
    if (end > this.#size) {
      this.#resize(end - this.#size);
      this.#size = end;
    }
  }
}
