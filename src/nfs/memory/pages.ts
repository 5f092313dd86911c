export const PAGE_BYTES = 4096;

const HOLE = 0;
const DATA = 1;
const RESERVED = 2;

/**
 * What the pages of a piece of a file are: holes; data, since something was written to them; or reserved, which is a
 * hole for who reads or seeks. Offsets are bytes from the start of the piece, and at most its length.
 */
export class Pages {
  readonly #states: Uint8Array;
  #used = 0;

  constructor(count: number) {
    this.#states = new Uint8Array(count);
  }

  get count(): number {
    return this.#states.length;
  }

  /** How many are no holes. */
  get used(): number {
    return this.#used;
  }

  /** Where the last reserved page ends; 0 where there is none. */
  get reservedEnd(): number {
    return (this.#states.lastIndexOf(RESERVED) + 1) * PAGE_BYTES;
  }

  /** The first page from `page` on that is data; {@link count} where there is none. */
  nextData(page: number): number {
    const found = this.#states.indexOf(DATA, page);
    return found < 0 ? this.count : found;
  }

  /** The first page from `page` on that is no data; {@link count} where there is none. */
  nextHole(page: number): number {
    let found = page;
    while (this.#states[found] === DATA) {
      found++;
    }
    return found;
  }

  /** The pages that the range touches are data. */
  write(start: number, end: number): void {
    const states = this.#states;
    for (let page = Math.floor(start / PAGE_BYTES); page * PAGE_BYTES < end; page++) {
      if (states[page] === HOLE) {
        this.#used++;
      }
      states[page] = DATA;
    }
  }

  /** The holes that the range touches are reserved. */
  reserve(start: number, end: number): void {
    const states = this.#states;
    for (let page = Math.floor(start / PAGE_BYTES); page * PAGE_BYTES < end; page++) {
      if (states[page] === HOLE) {
        states[page] = RESERVED;
        this.#used++;
      }
    }
  }

  /** The pages that lie within the range are holes. */
  clear(start: number, end: number): void {
    const states = this.#states;
    for (let page = Math.ceil(start / PAGE_BYTES); (page + 1) * PAGE_BYTES <= end; page++) {
      if (states[page] !== HOLE) {
        states[page] = HOLE;
        this.#used--;
      }
    }
  }

  /** A copy that has the data, but not what is reserved. */
  copyOfData(): Pages {
    const copy = new Pages(this.count);
    copy.#states.set(this.#states);
    copy.#used = this.#used;
    for (let page = copy.#states.indexOf(RESERVED); page >= 0; page = copy.#states.indexOf(RESERVED, page)) {
      copy.#states[page] = HOLE;
      copy.#used--;
    }
    return copy;
  }
}
