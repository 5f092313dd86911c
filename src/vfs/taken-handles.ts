import type { HandleCodec } from "./handles.ts";
import type { WritableFile } from "./writable-file.ts";

/** Each takes some 300 bytes, for good. */
const MAXIMUM_TAKEN = 65_536;

/**
 * Handles of CAS files that have become a writable file's: the one action that had got such a handle changes the file
 * through it. Whoever looks the blob up later is given the handle's next generation, which is another inode. The old one
 * is never given out again, since the kernel may still remember of it what the action has made of the file.
 */
export class TakenHandles {
  readonly #codec: HandleCodec;
  /** undefined once the file is gone. */
  readonly #files = new Map<string, WritableFile | undefined>();

  constructor(codec: HandleCodec) {
    this.#codec = codec;
  }

  /** Whether one more can be taken, and the blob has another handle left. */
  mayTake(handle: Buffer): boolean {
    return this.#files.size < MAXIMUM_TAKEN && this.#codec.nextGeneration(handle) !== undefined;
  }

  take(handle: Buffer, file: WritableFile): void {
    this.#files.set(handle.toString("latin1"), file);
  }

  /** The file with that handle has ended. */
  end(handle: Buffer): void {
    const key = handle.toString("latin1");
    if (this.#files.has(key)) {
      this.#files.set(key, undefined);
    }
  }

  /** Whether the handle, as a string of latin1, is no CAS file's any more. */
  has(key: string): boolean {
    return this.#files.has(key);
  }

  get(key: string): WritableFile | undefined {
    return this.#files.get(key);
  }

  /** The handle that is given out for the blob: the one that its directory has, unless that is taken. */
  current(handle: Buffer): Buffer {
    let current = handle;
    while (this.#files.size > 0 && this.#files.has(current.toString("latin1"))) {
      current = this.#codec.nextGeneration(current)!;
    }
    return current;
  }
}
