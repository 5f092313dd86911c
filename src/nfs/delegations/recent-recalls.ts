/** For at least this long after a recall, and at most twice as long, a file gets no new delegation. */
const QUIET_MILLISECONDS = 30_000;
/** If more files are recalled in that time, the earliest are forgotten: whoever waited for them has had its turn. */
const MAXIMUM_FILES = 16_384;

/**
 * The files whose delegations were recently recalled, by {@link FileState.key}. They are contended, and a client that
 * waits for a recall must not find that another client has got a new delegation first.
 */
export class RecentRecalls {
  #recent = new Set<string>();
  #older = new Set<string>();
  #since = 0;

  /** At most twice as many as are certain to be remembered. */
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
