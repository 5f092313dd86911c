/**
 * A read this close to a sequential reader's position is part of its sequence: kernels send several at a time, in
 * any order.
 */
const TOLERANCE_BYTES = 1024 * 1024;

/** A range of a blob, in bytes. */
export interface Range {
  readonly from: number;
  readonly until: number;
}

/**
 * Decides how far ahead of a reader to fetch: nothing until about half a chunk has been read in sequence, so that a
 * look at a file's head costs one chunk; then as much again as has been read, up to a limit.
 */
export class ReadAhead {
  readonly #chunkSizeBytes: number;
  readonly #maximumBytes: number;
  /** Where the sequence that is being read ends. */
  #frontier = 0;
  /** Its length. */
  #run = 0;
  /** Where the last range that was asked for ends. */
  #requested = 0;

  constructor(chunkSizeBytes: number, maximumBytes: number) {
    this.#chunkSizeBytes = chunkSizeBytes;
    this.#maximumBytes = maximumBytes;
  }

  /** Notes a read. Returns the range to fetch now, if any; its end may lie beyond the blob's. */
  note(offset: number, count: number): Range | undefined {
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
      return undefined;
    }
    const window = Math.min(this.#maximumBytes, Math.max(this.#chunkSizeBytes, this.#run));
    // In steps of half a window, so that fetches grow with it.
    if (this.#requested - this.#frontier >= window / 2) {
      return undefined;
    }
    const from = Math.max(this.#requested, this.#frontier);
    this.#requested = Math.ceil((this.#frontier + window) / this.#chunkSizeBytes) * this.#chunkSizeBytes;
    return { from, until: this.#requested };
  }
}
