import type { Cookie, Name } from "../file-system.ts";

interface Entry<T> {
  readonly name: Name;
  readonly cookie: Cookie;
  /** undefined once the entry is removed: the gap that it leaves must not keep the node's content. */
  node: T | undefined;
}

const FIRST_COOKIE = 3;

/** A directory's entries, in the order in which they were made, with rising cookies. */
export class Entries<T> {
  readonly #byName = new Map<Name, Entry<T>>();
  /** Removed entries leave a gap until there are more gaps than entries. */
  #ordered: Entry<T>[] = [];
  #nextCookie: Cookie = FIRST_COOKIE;

  get size(): number {
    return this.#byName.size;
  }

  get(name: Name): T | undefined {
    return this.#byName.get(name)?.node;
  }

  /** Adds the entry, or replaces the one of that name. */
  set(name: Name, node: T): void {
    const entry = { name, cookie: this.#nextCookie++, node };
    const replaced = this.#byName.get(name);
    if (replaced !== undefined) {
      replaced.node = undefined;
    }
    this.#byName.set(name, entry);
    this.#ordered.push(entry);
    this.#compact();
  }

  delete(name: Name): void {
    const entry = this.#byName.get(name);
    if (entry === undefined) {
      return;
    }
    entry.node = undefined;
    this.#byName.delete(name);
    this.#compact();
  }

  /** Visits the entries after `cookie` until `visit` returns false; true when all have been visited. */
  visit(cookie: Cookie, visit: (name: Name, cookie: Cookie, node: T) => boolean): boolean {
    const ordered = this.#ordered;
    for (let index = this.#after(cookie); index < ordered.length; index++) {
      const { name, cookie: at, node } = ordered[index]!;
      if (node !== undefined && !visit(name, at, node)) {
        return false;
      }
    }
    return true;
  }

  /** Whether the cookie may have been given out. */
  isCookie(cookie: Cookie): boolean {
    return cookie === 0 || (cookie >= FIRST_COOKIE && cookie < this.#nextCookie);
  }

  #after(cookie: Cookie): number {
    let low = 0;
    let high = this.#ordered.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ordered[middle]!.cookie <= cookie) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  #compact(): void {
    if (this.#ordered.length < 2 * this.#byName.size + 16) {
      return;
    }
    this.#ordered = this.#ordered.filter((entry) => entry.node !== undefined);
  }
}
