import type { Timestamp } from "../nfs/file-system.ts";

/** The time of all inputs, 2000-01-01T00:00:00Z as in Buildbarn: the same in each action, and older than outputs. */
export const INPUT_TIME: Timestamp = { seconds: 946_684_800, nanoseconds: 0 };

/** The tree's clock; tests have their own. */
export interface Clock {
  /** The time of day. Later calls answer later times, as long as a millisecond has room for them. */
  now(): Timestamp;
  /** Milliseconds since some fixed moment; never goes back. */
  monotonic(): number;
}

export class SystemClock implements Clock {
  #milliseconds = 0;
  #microseconds = 0;

  now(): Timestamp {
    const milliseconds = Date.now();
    if (milliseconds !== this.#milliseconds) {
      this.#milliseconds = milliseconds;
      this.#microseconds = 0;
    } else if (this.#microseconds < 999) {
      this.#microseconds++;
    }
    const seconds = Math.floor(milliseconds / 1000);
    return { seconds, nanoseconds: (milliseconds - seconds * 1000) * 1_000_000 + this.#microseconds * 1000 };
  }

  monotonic(): number {
    return performance.now();
  }
}
