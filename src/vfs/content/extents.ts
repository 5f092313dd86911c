/** A set of byte ranges, each [start, end), kept sorted and merged. */
export class Extents {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  #total = 0;

  /** Bytes in all ranges. */
  get total(): number {
    return this.#total;
  }

  add(start: number, end: number): void {
    if (start >= end) {
      return;
    }
    const starts = this.#starts;
    const ends = this.#ends;
    // Files are mostly written from start to end: the last range grows.
    const last = starts.length - 1;
    if (last >= 0 && starts[last]! <= start && start <= ends[last]!) {
      if (end > ends[last]!) {
        this.#total += end - ends[last]!;
        ends[last] = end;
      }
      return;
    }
    const from = firstAtLeast(ends, start);
    let to = from;
    let mergedStart = start;
    let mergedEnd = end;
    let covered = 0;
    while (to < starts.length && starts[to]! <= end) {
      mergedStart = Math.min(mergedStart, starts[to]!);
      mergedEnd = Math.max(mergedEnd, ends[to]!);
      covered += ends[to]! - starts[to]!;
      to++;
    }
    starts.splice(from, to - from, mergedStart);
    ends.splice(from, to - from, mergedEnd);
    this.#total += mergedEnd - mergedStart - covered;
  }

  remove(start: number, end: number): void {
    if (start >= end) {
      return;
    }
    const starts = this.#starts;
    const ends = this.#ends;
    const from = firstAbove(ends, start);
    let to = from;
    const keptStarts: number[] = [];
    const keptEnds: number[] = [];
    while (to < starts.length && starts[to]! < end) {
      if (starts[to]! < start) {
        keptStarts.push(starts[to]!);
        keptEnds.push(start);
      }
      if (ends[to]! > end) {
        keptStarts.push(end);
        keptEnds.push(ends[to]!);
      }
      this.#total -= Math.min(ends[to]!, end) - Math.max(starts[to]!, start);
      to++;
    }
    starts.splice(from, to - from, ...keptStarts);
    ends.splice(from, to - from, ...keptEnds);
  }

  clear(): void {
    this.#starts.length = 0;
    this.#ends.length = 0;
    this.#total = 0;
  }

  /** How many bytes of the range are in the set. */
  covered(start: number, end: number): number {
    let sum = 0;
    for (let i = firstAbove(this.#ends, start); i < this.#starts.length && this.#starts[i]! < end; i++) {
      sum += Math.min(this.#ends[i]!, end) - Math.max(this.#starts[i]!, start);
    }
    return sum;
  }

  /** The end of the range that holds `offset`, or undefined if none does. */
  endAt(offset: number): number | undefined {
    const i = firstAbove(this.#ends, offset);
    return i < this.#starts.length && this.#starts[i]! <= offset ? this.#ends[i] : undefined;
  }

  /** The start of the first range that begins after `offset`, or undefined. */
  startAfter(offset: number): number | undefined {
    return this.#starts[firstAbove(this.#starts, offset)];
  }
}

/** The index of the first value that is at least `bound`. */
function firstAtLeast(values: readonly number[], bound: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle]! < bound) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/** The index of the first value that is above `bound`. */
function firstAbove(values: readonly number[], bound: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle]! <= bound) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}
