import type { Name } from "../../nfs/file-system.ts";
import { type CasDirectory, indexNames } from "./cas-directory.ts";

/** Cookies 0 to 2 are reserved (RFC 8881 §18.23.3). */
const FIRST_COOKIE = 3;

/** With at least this many holes, and more holes than entries, the table is rewritten without them. */
const COMPACT_FROM = 32;

/**
 * The entries of a directory, in the order in which they came. A directory as the CAS has it shares the names of its
 * {@link CasDirectory} and owns only the slots; with the first change it gets names of its own.
 *
 * An entry lies at a position, which holds until the next {@link add} or {@link remove}, and has a cookie, which
 * holds for good: cookies rise with the position, and none is given out twice.
 *
 * @typeParam Child what a slot holds. The slot of a CAS directory's entry that nobody has looked at is empty.
 */
export class Entries<Child> {
  readonly #origin: CasDirectory | undefined;
  /** Where in the CAS directory the entries are, by the order of their first listing; undefined: in the same order. */
  readonly #order: Uint32Array | undefined;
  /** undefined while nothing has changed. */
  #own: OwnNames | undefined;
  /** For positions from {@link #slotsFrom} on: a CAS directory's files, which come first, have no slots. */
  #slots: (Child | undefined)[] = [];
  #slotsFrom: number;
  #count: number;

  /** `order`: the positions of the CAS directory's entries in the order in which they are listed; its own if absent. */
  constructor(origin: CasDirectory | undefined, order?: Uint32Array) {
    this.#origin = origin;
    this.#order = order;
    this.#count = origin?.names.length ?? 0;
    this.#slotsFrom = origin?.fileCount ?? 0;
    if (origin === undefined) {
      this.#own = ownNames([]);
    } else if (order !== undefined) {
      this.#own = ownNames(Array.from(order, (position) => origin.names[position]!));
      this.#slots = new Array<Child | undefined>(order.length);
      this.#slotsFrom = 0;
    }
  }

  get count(): number {
    return this.#count;
  }

  /** Positions are below this; some of them may be empty. */
  get positionCount(): number {
    return this.#own === undefined ? this.#count : this.#own.names.length;
  }

  /** -1 if there is no such name. */
  find(name: Name): number {
    if (this.#own === undefined) {
      return this.#origin!.find(name);
    }
    return this.#own.positions.get(name) ?? -1;
  }

  /** undefined if the position is empty. */
  nameAt(position: number): Name | undefined {
    return this.#own === undefined ? this.#origin!.names[position] : this.#own.names[position];
  }

  /** undefined if the position is empty, or its entry still as {@link origin} has it. */
  childAt(position: number): Child | undefined {
    return position < this.#slotsFrom ? undefined : this.#slots[position - this.#slotsFrom];
  }

  /** Keeps the child of an entry that nobody had looked at; not for files. */
  materialise(position: number, child: Child): void {
    this.#slots[position - this.#slotsFrom] = child;
  }

  /** The position in the CAS directory of an entry that nobody has looked at. */
  originPosition(position: number): number {
    const listed = this.cookieAt(position) - FIRST_COOKIE;
    return this.#order === undefined ? listed : this.#order[listed]!;
  }

  /** The CAS directory that empty slots refer to. */
  get origin(): CasDirectory | undefined {
    return this.#origin;
  }

  cookieAt(position: number): number {
    return this.#own === undefined ? position + FIRST_COOKIE : this.#own.cookies[position]!;
  }

  /** The first position whose cookie is above `cookie`; 0 is the start. undefined for a cookie never given out. */
  positionAfter(cookie: number): number | undefined {
    if (cookie === 0) {
      return 0;
    }
    const next = this.#own === undefined ? this.#count + FIRST_COOKIE : this.#own.nextCookie;
    if (cookie < FIRST_COOKIE || cookie >= next) {
      return undefined;
    }
    if (this.#own === undefined) {
      return cookie - FIRST_COOKIE + 1;
    }
    const { cookies } = this.#own;
    let low = 0;
    let high = cookies.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (cookies[middle]! <= cookie) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  /** The name must be new. */
  add(name: Name, child: Child): void {
    const own = this.#makeOwn();
    const position = own.names.length;
    own.names.push(name);
    own.cookies.push(own.nextCookie++);
    own.positions.set(name, position);
    this.#slots[position] = child;
    this.#count++;
  }

  /** Puts another child under the name; the entry keeps its place in the listing. */
  replace(position: number, child: Child): void {
    this.#makeOwn();
    this.#slots[position] = child;
  }

  remove(position: number): void {
    const own = this.#makeOwn();
    own.positions.delete(own.names[position]!);
    own.names[position] = undefined;
    this.#slots[position] = undefined;
    this.#count--;
    const holes = own.names.length - this.#count;
    if (holes >= COMPACT_FROM && holes > this.#count) {
      this.#compact(own);
    }
  }

  #makeOwn(): OwnNames {
    if (this.#own !== undefined) {
      return this.#own;
    }
    this.#slots = new Array<Child | undefined>(this.#slotsFrom).concat(this.#slots);
    this.#slotsFrom = 0;
    this.#own = ownNames(this.#origin!.names.slice());
    return this.#own;
  }

  #compact(own: OwnNames): void {
    const { names, cookies } = own;
    const slots = this.#slots;
    let filled = 0;
    for (let position = 0; position < names.length; position++) {
      const name = names[position];
      if (name === undefined) {
        continue;
      }
      names[filled] = name;
      cookies[filled] = cookies[position]!;
      slots[filled] = slots[position];
      own.positions.set(name, filled);
      filled++;
    }
    names.length = filled;
    cookies.length = filled;
    slots.length = filled;
  }
}

interface OwnNames {
  /** undefined for removed entries. */
  readonly names: (Name | undefined)[];
  readonly cookies: number[];
  readonly positions: Map<Name, number>;
  nextCookie: number;
}

function ownNames(names: Name[]): OwnNames {
  return {
    names,
    cookies: names.map((_, position) => position + FIRST_COOKIE),
    positions: indexNames(names),
    nextCookie: names.length + FIRST_COOKIE,
  };
}
