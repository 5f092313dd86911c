import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  read,
  readFileSync,
  write,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { lockExclusively } from "../../native/file-lock.ts";
import type { FilePool, PoolFile } from "./file-pool.ts";

/** What a file takes at least. */
const BLOCK_BYTES = 64 * 1024;
/** The unit of sizes in /sys/dev/block. */
const SECTOR_BYTES = 512;

/**
 * Keeps all files in the blocks of one file of a given size, or of a block device: more than that cannot be written. What
 * it held before is not used; a file is sparse, and takes space as that is written. It is for scratch data: nothing is
 * ever synced.
 */
export class BlockFilePool implements FilePool, Disposable {
  readonly #descriptor: number;
  readonly #blocks: number;
  readonly #isFile: boolean;
  /** Blocks that were used, and are not any more. */
  readonly #free: number[] = [];
  /** From here on no block has ever been used. */
  #unused = 0;

  /**
   * `sizeBytes` may be left out for a device, all of which is used then. Throws the operating system's error, or an Error
   * if there is not even a block, or if another process uses it.
   */
  constructor(path: string, sizeBytes?: number) {
    mkdirSync(dirname(path), { recursive: true });
    this.#descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      // Before anything is cut off: another's actions may be writing to it.
      lockExclusively(this.#descriptor, path);
      this.#blocks = Math.floor((sizeBytes ?? deviceBytes(this.#descriptor, path)) / BLOCK_BYTES);
      if (this.#blocks === 0) {
        throw new Error(`${path} is smaller than ${BLOCK_BYTES} bytes, which is what a file takes at least`);
      }
      this.#isFile = fstatSync(this.#descriptor).isFile();
      if (this.#isFile) {
        ftruncateSync(this.#descriptor, 0);
      }
    } catch (error) {
      closeSync(this.#descriptor);
      throw error;
    }
  }

  open(): PoolFile {
    return new BlockFile(this.#descriptor, {
      take: () => this.#take(),
      giveBack: (block) => void this.#free.push(block),
    });
  }

  space(): { totalBytes: number; freeBytes: number } {
    const free = this.#free.length + this.#blocks - this.#unused;
    return { totalBytes: this.#blocks * BLOCK_BYTES, freeBytes: free * BLOCK_BYTES };
  }

  /** Files must have been closed. */
  [Symbol.dispose](): void {
    closeSync(this.#descriptor);
  }

  /** A block that holds zeros. */
  #take(): number {
    const used = this.#free.pop();
    if (used === undefined && this.#unused >= this.#blocks) {
      throw Object.assign(new Error(`the file pool's ${this.#blocks * BLOCK_BYTES} bytes are used up`), {
        code: "ENOSPC",
      });
    }
    const block = used ?? this.#unused++;
    if (used !== undefined || !this.#isFile) {
      writeZeros(this.#descriptor, block * BLOCK_BYTES, BLOCK_BYTES);
    }
    return block;
  }
}

function writeZeros(descriptor: number, start: number, count: number): void {
  const zeros = Buffer.alloc(count);
  for (let at = 0; at < count; ) {
    at += writeSync(descriptor, zeros, at, count - at, start + at);
  }
}

function deviceBytes(descriptor: number, path: string): number {
  const status = fstatSync(descriptor);
  if (!status.isBlockDevice()) {
    throw new Error(`${path} is not a block device`);
  }
  const [major, minor] = [
    (status.rdev >>> 8) & 0xfff,
    (status.rdev & 0xff) | ((status.rdev >>> 12) & 0xfff00),
  ];
  return Number(readFileSync(`/sys/dev/block/${major}:${minor}/size`, "latin1")) * SECTOR_BYTES;
}

interface Blocks {
  /** Throws an Error with the code ENOSPC, among others. */
  take(): number;
  giveBack(block: number): void;
}

/** Part of a request, within one block. */
interface Piece {
  /** The block's place in the file. */
  readonly index: number;
  readonly offset: number;
  readonly from: number;
  readonly to: number;
}

class BlockFile implements PoolFile {
  readonly #descriptor: number;
  readonly #pool: Blocks;
  /** By place in the file, the pool's block, all zeros when it was taken. */
  readonly #blocks = new Map<number, number>();
  /** No more part of the file, but perhaps still being read or written. */
  readonly #leaving: number[] = [];
  #underWay = 0;

  constructor(descriptor: number, pool: Blocks) {
    this.#descriptor = descriptor;
    this.#pool = pool;
  }

  async read(position: number, target: Buffer): Promise<void> {
    await this.#during(
      piecesOf(position, target.length).map(async ({ index, offset, from, to }) => {
        const block = this.#blocks.get(index);
        let at = from;
        while (block !== undefined && at < to) {
          const start = block * BLOCK_BYTES + offset + at - from;
          const count = await readSome(this.#descriptor, target, at, to - at, start);
          if (count === 0) {
            break;
          }
          at += count;
        }
        target.fill(0, at, to);
      }),
    );
  }

  async write(position: number, data: Uint8Array): Promise<void> {
    const places = this.#places(position, data);
    await this.#during(
      places.map(async ({ start, from, to }) => {
        for (let at = from; at < to; ) {
          at += await writeSome(this.#descriptor, data, at, to - at, start + at - from);
        }
      }),
    );
  }

  writeNow(position: number, data: Uint8Array): void {
    for (const { start, from, to } of this.#places(position, data)) {
      this.#writeAll(data.subarray(from, to), start);
    }
  }

  shrink(size: number): void {
    for (const [index, block] of this.#blocks) {
      const kept = size - index * BLOCK_BYTES;
      if (kept <= 0) {
        this.#blocks.delete(index);
        this.#leaving.push(block);
      } else if (kept < BLOCK_BYTES) {
        writeZeros(this.#descriptor, block * BLOCK_BYTES + kept, BLOCK_BYTES - kept);
      }
    }
    this.#giveBack();
  }

  close(): void {
    this.shrink(0);
  }

  /** Where in the pool's file each piece of the data goes. All blocks are there. */
  #places(position: number, data: Uint8Array): { start: number; from: number; to: number }[] {
    return piecesOf(position, data.length).map(({ index, offset, from, to }) => {
      let block = this.#blocks.get(index);
      if (block === undefined) {
        block = this.#pool.take();
        this.#blocks.set(index, block);
      }
      return { start: block * BLOCK_BYTES + offset, from, to };
    });
  }

  #writeAll(data: Uint8Array, start: number): void {
    for (let at = 0; at < data.length; ) {
      at += writeSync(this.#descriptor, data, at, data.length - at, start + at);
    }
  }

  async #during(operations: readonly Promise<void>[]): Promise<void> {
    this.#underWay++;
    try {
      const ended = await Promise.allSettled(operations);
      for (const each of ended) {
        if (each.status === "rejected") {
          throw each.reason;
        }
      }
    } finally {
      this.#underWay--;
      this.#giveBack();
    }
  }

  /** Another file may have them once nothing of this one can be on its way to or from them. */
  #giveBack(): void {
    if (this.#underWay > 0) {
      return;
    }
    for (const block of this.#leaving.splice(0)) {
      this.#pool.giveBack(block);
    }
  }
}

function piecesOf(position: number, length: number): Piece[] {
  const pieces: Piece[] = [];
  for (let from = 0; from < length; ) {
    const index = Math.floor((position + from) / BLOCK_BYTES);
    const offset = position + from - index * BLOCK_BYTES;
    const to = Math.min(length, from + BLOCK_BYTES - offset);
    pieces.push({ index, offset, from, to });
    from = to;
  }
  return pieces;
}

function readSome(
  descriptor: number,
  target: Buffer,
  offset: number,
  length: number,
  position: number,
): Promise<number> {
  return new Promise((resolve, reject) => {
    read(descriptor, target, offset, length, position, (error, count) =>
      error === null ? resolve(count) : reject(error),
    );
  });
}

function writeSome(
  descriptor: number,
  data: Uint8Array,
  offset: number,
  length: number,
  position: number,
): Promise<number> {
  return new Promise((resolve, reject) => {
    write(descriptor, data, offset, length, position, (error, count) =>
      error === null ? resolve(count) : reject(error),
    );
  });
}
