/**
 * A call whose effect is on all that was done before it. Callers that come while one is under way share the next one, so
 * that many at once cost two.
 */
export class SharedCalls {
  readonly #begin: () => Promise<void>;
  #current: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(begin: () => Promise<void>) {
    this.#begin = begin;
  }

  call(): Promise<void> {
    if (this.#current === undefined) {
      this.#current = this.#begin().finally(() => {
        this.#current = undefined;
      });
      return this.#current;
    }
    this.#next ??= this.#current
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        return this.call();
      });
    return this.#next;
  }
}
