import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  ftruncateSync,
  openSync,
  read,
  readSync,
  type Stats,
  writeSync,
  writev,
  writevSync,
} from "node:fs";
import { lockExclusively } from "../../native/file-lock.ts";

/** Where a store's blocks are: positional reads and writes of exactly what is asked for. */
export interface BlockDevice {
  /** Throws an Error if there are fewer bytes. */
  readSync(target: Buffer, position: number): void;
  read(target: Buffer, position: number): Promise<void>;
  /** Writes all, one after the other. Throws an Error if not all of it could be written. */
  writeSync(buffers: readonly Uint8Array[], position: number): void;
  write(buffers: readonly Uint8Array[], position: number): Promise<void>;
  /** Resolves when what was written survives a power failure. */
  sync(): Promise<void>;
  close(): void;
}

/** A regular file or a block device, for this process alone. */
export class FileDevice implements BlockDevice {
  readonly path: string;
  /** -1 once it is closed, so that no other file is taken for it. */
  #file: number;

  private constructor(path: string, file: number) {
    this.path = path;
    this.#file = file;
  }

  /**
   * Opens it; makes a file that does not exist, unless it `mustExist`. Throws an Error that names it if that is not
   * possible, or if another process uses it.
   */
  static open(path: string, mustExist: boolean): FileDevice {
    const flags = constants.O_RDWR | (mustExist ? 0 : constants.O_CREAT);
    const file = openSync(path, flags, 0o600);
    try {
      lockExclusively(file, path);
    } catch (error) {
      closeSync(file);
      throw error;
    }
    return new FileDevice(path, file);
  }

  status(): Stats {
    return fstatSync(this.#file);
  }

  /** How many bytes a block device has. */
  deviceBytes(): number {
    // There is no call for it in Node; but no device has bytes beyond its end.
    let [low, high] = [0, 2 ** 50];
    const byte = Buffer.alloc(1);
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (readSync(this.#file, byte, 0, 1, middle) > 0) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  /** Leaves a file of so many zeros, which take no space yet. */
  clear(sizeBytes: number): void {
    ftruncateSync(this.#file, 0);
    ftruncateSync(this.#file, sizeBytes);
  }

  readSync(target: Buffer, position: number): void {
    if (readSync(this.#file, target, 0, target.length, position) < target.length) {
      throw new Error(`${this.path} is shorter than it was`);
    }
  }

  read(target: Buffer, position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      read(this.#file, target, 0, target.length, position, (error, count) => {
        if (error || count < target.length) {
          reject(error ?? new Error(`${this.path} is shorter than it was`));
        } else {
          resolve();
        }
      });
    });
  }

  writeSync(buffers: readonly Uint8Array[], position: number): void {
    const expected = lengthOf(buffers);
    const written =
      buffers.length === 1
        ? writeSync(this.#file, buffers[0]!, 0, expected, position)
        : writevSync(this.#file, buffers, position);
    if (written < expected) {
      throw new Error(`${this.path}: only ${written} of ${expected} bytes could be written`);
    }
  }

  write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    const expected = lengthOf(buffers);
    return new Promise((resolve, reject) => {
      writev(this.#file, buffers, position, (error, written) => {
        if (error || written < expected) {
          reject(error ?? new Error(`${this.path}: only ${written} of ${expected} bytes could be written`));
        } else {
          resolve();
        }
      });
    });
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fdatasync(this.#file, (error) => (error ? reject(error) : resolve()));
    });
  }

  close(): void {
    if (this.#file >= 0) {
      closeSync(this.#file);
      this.#file = -1;
    }
  }
}

/** Blocks in memory, which take none until something is written to them. */
export class MemoryDevice implements BlockDevice {
  readonly #pieces = new Map<number, Buffer>();
  readonly #start: number;
  readonly #blockBytes: number;

  /** @param start Where the first block begins. */
  constructor(start: number, blockBytes: number) {
    this.#start = start;
    this.#blockBytes = blockBytes;
  }

  readSync(target: Buffer, position: number): void {
    const { block, offset } = this.#place(position);
    block.copy(target, 0, offset, offset + target.length);
  }

  async read(target: Buffer, position: number): Promise<void> {
    this.readSync(target, position);
  }

  writeSync(buffers: readonly Uint8Array[], position: number): void {
    const { block, offset } = this.#place(position);
    let end = offset;
    for (const buffer of buffers) {
      block.set(buffer, end);
      end += buffer.length;
    }
  }

  async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    this.writeSync(buffers, position);
  }

  async sync(): Promise<void> {
    // Memory survives nothing.
  }

  close(): void {
    this.#pieces.clear();
  }

  #place(position: number): { readonly block: Buffer; readonly offset: number } {
    const index = Math.floor((position - this.#start) / this.#blockBytes);
    let block = this.#pieces.get(index);
    if (block === undefined) {
      block = Buffer.alloc(this.#blockBytes);
      this.#pieces.set(index, block);
    }
    return { block, offset: position - this.#start - index * this.#blockBytes };
  }
}

function lengthOf(buffers: readonly Uint8Array[]): number {
  return buffers.reduce((sum, { length }) => sum + length, 0);
}
