import type { FilePool, PoolFile } from "../../vfs/index.ts";

/** A file pool that counts the files that were made in it, and those of them that are gone. */
export class CountedFilePool implements FilePool {
  created = 0;
  closed = 0;
  readonly #base: FilePool;

  constructor(base: FilePool) {
    this.#base = base;
  }

  open(): PoolFile {
    const file = this.#base.open();
    this.created++;
    return {
      read: (position, target) => file.read(position, target),
      write: (position, data) => file.write(position, data),
      writeNow: (position, data) => file.writeNow(position, data),
      shrink: (size) => file.shrink(size),
      close: () => {
        this.closed++;
        file.close();
      },
    };
  }

  space(): { totalBytes: number; freeBytes: number } {
    return this.#base.space();
  }
}
