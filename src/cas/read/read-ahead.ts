/** Reads this close to where a sequential reader is belong to it: kernels send several at a time, in any order. */
const TOLERANCE_BYTES = 1024 * 1024;

/**
 * Decides how far ahead of a reader to fetch. Nothing until about half a chunk has been read in sequence, so that a
 * look at a file's head costs one chunk; then as much as has been read, up to a limit.
 */
export class ReadAhead {
  readonly #chunkSizeBytes: number;
  readonly #maximumBytes: number;
  /** End of what has been read in sequence, and how much that is. */
  #frontier = 0;
  #run = 0;
  /** Up to where was asked to fetch. */
  #requested = 0;

  constructor(chunkSizeBytes: number, maximumBytes: number) {
    this.#chunkSizeBytes = chunkSizeBytes;
    this.#maximumBytes = maximumBytes;
  }

  /**
   * Notes a read. Returns the offset up to which the file should be fetched now, from {@link from} on; 0 for
   * nothing.
   */
  note(offset: number, count: number): number {
    const end = offset + count;
    if (offset <= this.#frontier + TOLERANCE_BYTES && end >= this.#frontier - TOLERANCE_BYTES) {
      if (end > this.#frontier) {
        this.#run += end - this.#frontier;
        this.#frontier = end;
      }
    } else {
      this.#frontier = end;
      this.#run = count;
      this.#requested = 0;
    }
    if (this.#maximumBytes === 0 || this.#run < this.#chunkSizeBytes / 2) {
      return 0;
    }
    const window = Math.min(this.#maximumBytes, Math.max(this.#chunkSizeBytes, this.#run));
    // In steps of half a window, so that fetches grow with it.
    if (this.#requested - this.#frontier >= window / 2) {
      return 0;
    }
    this.from = Math.max(this.#requested, this.#frontier);
    this.#requested = Math.ceil((this.#frontier + window) / this.#chunkSizeBytes) * this.#chunkSizeBytes;
    return this.#requested;
  }

  /** Where the last range that {@link note} asked for begins. */
  from = 0;
}
