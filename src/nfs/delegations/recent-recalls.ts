/** How long a file gets no new delegation after a recall, at least; at most twice as long. */
const QUIET_MILLISECONDS = 30_000;
/** Of more recalls in that time the earlier ones are forgotten: whoever waited for these has had its turn. */
const MAXIMUM_FILES = 16_384;

/**
 * The files whose delegations were recalled lately, by {@link FileState.key}. They are contended; and a client that
 * waits for a recall must not find that others have got delegations again.
 */
export class RecentRecalls {
  #recent = new Set<string>();
  #older = new Set<string>();
  #since = 0;

  /** At most twice as many as are remembered for certain. */
  get size(): number {
    return this.#recent.size + this.#older.size;
  }

  /** `now` in milliseconds of a monotonic clock. */
  add(file: string, now: number): void {
    if (this.#recent.size >= MAXIMUM_FILES) {
      this.#turn(this.#recent, now);
    } else {
      this.#forget(now);
    }
    this.#recent.add(file);
  }

  has(file: string, now: number): boolean {
    if (this.size === 0) {
      return false;
    }
    this.#forget(now);
    return this.#recent.has(file) || this.#older.has(file);
  }

  #forget(now: number): void {
    const passed = now - this.#since;
    if (passed >= QUIET_MILLISECONDS) {
      this.#turn(passed < 2 * QUIET_MILLISECONDS ? this.#recent : new Set(), now);
    }
  }

  #turn(older: Set<string>, now: number): void {
    this.#older = older;
    this.#recent = new Set();
    this.#since = now;
  }
}
