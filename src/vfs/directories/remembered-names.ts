import type { Name } from "../../nfs/file-system.ts";

/** Of more names at a time than this, it is not known which they are. */
const MAXIMUM_NAMES = 4096;

/** Names in a directory that clients may remember, as there or as not there, since they have asked for them or seen them. */
export class RememberedNames {
  /** In the order in which they were noted last, each with the number of calls of {@link beginForgetting} by then. */
  readonly #names = new Map<Name, number>();
  #forgettings = 0;
  /** That number when a name was last dropped for want of room. */
  #lastDropped = -1;

  note(name: Name): void {
    this.#names.delete(name);
    this.#names.set(name, this.#forgettings);
    if (this.#names.size > MAXIMUM_NAMES) {
      const [oldest] = this.#names.keys();
      this.#names.delete(oldest!);
      this.#lastDropped = this.#forgettings;
    }
  }

  mayHave(name: Name): boolean {
    return this.#lastDropped >= 0 || this.#names.has(name);
  }

  /** To be called before clients are made to forget; what it returns, once they have forgotten what was noted by then. */
  beginForgetting(): () => void {
    const before = this.#forgettings++;
    return () => {
      for (const [name, noted] of this.#names) {
        if (noted > before) {
          break;
        }
        this.#names.delete(name);
      }
      if (this.#lastDropped <= before) {
        this.#lastDropped = -1;
      }
    };
  }
}
