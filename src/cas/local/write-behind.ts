import type { LocalStore } from "./local-store.ts";
import type { NewEntry } from "./options.ts";

/** So much, or what came in so long, is written at once. */
const WRITE_BYTES = 128 * 1024;
const DELAY_MILLISECONDS = 5;

/**
 * Collects small entries for a store, so that those that come one soon after the other cost one write. A process that is
 * killed meanwhile loses no more than has to be fetched again.
 */
export class WriteBehind {
  readonly #store: LocalStore;
  #entries: NewEntry[] = [];
  #bytes = 0;
  #written: PromiseWithResolvers<boolean> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(store: LocalStore) {
    this.#store = store;
  }

  /** As the store's. */
  put(entries: readonly NewEntry[]): boolean | Promise<boolean> {
    const bytes = entries.reduce((sum, { frame }) => sum + frame.length, 0);
    if (entries.length === 0 || bytes >= WRITE_BYTES) {
      return this.#store.put(entries);
    }
    this.#entries.push(...entries);
    this.#bytes += bytes;
    this.#written ??= Promise.withResolvers();
    const { promise } = this.#written;
    if (this.#bytes >= WRITE_BYTES) {
      this.flush();
    } else {
      this.#timer ??= setTimeout(() => this.flush(), DELAY_MILLISECONDS);
    }
    return promise;
  }

  /** Has everything written, or on its way. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const entries = this.#entries;
    this.#entries = [];
    this.#bytes = 0;
    this.#written?.resolve(this.#store.put(entries));
    this.#written = undefined;
  }
}
