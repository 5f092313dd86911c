/**
 * An action's timeout, on a clock that stops while the action waits for storage, so that a slow CAS is not held
 * against the action. It stops for at most `maximumCompensation` milliseconds in all.
 */
export class ExecutionTimeout {
  readonly #startedAt: number;
  readonly #now: () => number;
  readonly #onExpired: () => void;
  /** Milliseconds of the action's clock that were left at {@link #resumedAt}. */
  #left: number;
  #compensationLeft: number;
  #resumedAt: number;
  #suspendedAt = 0;
  #suspended = 0;
  #waits = 0;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    timeout: number,
    maximumCompensation: number,
    onExpired: () => void,
    now: () => number = () => performance.now(),
  ) {
    this.#left = timeout;
    this.#compensationLeft = maximumCompensation;
    this.#onExpired = onExpired;
    this.#now = now;
    this.#startedAt = this.#resumedAt = now();
    this.#arm();
  }

  /** The action waits for storage until the promise settles. */
  suspendUntil(settled: Promise<unknown>): void {
    this.suspend();
    const resume = (): void => this.resume();
    settled.then(resume, resume);
  }

  /** The action waits for storage. Each call must be followed by one of {@link resume}. */
  suspend(): void {
    if (this.#waits++ === 0 && !this.#stopped) {
      this.#suspendedAt = this.#now();
      this.#left -= this.#suspendedAt - this.#resumedAt;
      this.#arm();
    }
  }

  resume(): void {
    if (--this.#waits === 0 && !this.#stopped) {
      this.#settleSuspension();
      this.#arm();
    }
  }

  /** Stops the clock for good. Returns the milliseconds that have passed on it. */
  stop(): number {
    if (this.#waits > 0) {
      this.#settleSuspension();
    }
    this.#stopped = true;
    clearTimeout(this.#timer);
    return this.#now() - this.#startedAt - this.#suspended;
  }

  #settleSuspension(): void {
    this.#resumedAt = this.#now();
    const waited = this.#resumedAt - this.#suspendedAt;
    const compensated = Math.min(waited, this.#compensationLeft);
    this.#compensationLeft -= compensated;
    this.#suspended += compensated;
    this.#left -= waited - compensated;
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const remaining = this.#left + (this.#waits > 0 ? this.#compensationLeft : 0);
    this.#timer = setTimeout(this.#onExpired, Math.min(Math.max(remaining, 0), 0x7fffffff));
  }
}
