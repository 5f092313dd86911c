/**
 * Does once what several callers want at the same time. A caller who gives up does not disturb the others; when the
 * last one has given up, the work is aborted, and whoever comes next starts it anew.
 */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Flight<T>>();

  has(key: string): boolean {
    return this.#flights.has(key);
  }

  /** Rejects with the signal's reason when that aborts. */
  run(key: string, signal: AbortSignal | undefined, start: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (signal?.aborted) {
      return Promise.reject(signal.reason);
    }
    let flight = this.#flights.get(key);
    if (flight === undefined) {
      const controller = new AbortController();
      flight = { controller, callers: 0, result: start(controller.signal) };
      const started = flight;
      this.#flights.set(key, started);
      const land = () => this.#land(key, started);
      started.result.then(land, land);
    }
    return this.#join(key, flight, signal);
  }

  #join(key: string, flight: Flight<T>, signal: AbortSignal | undefined): Promise<T> {
    flight.callers++;
    if (signal === undefined) {
      return flight.result;
    }
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const giveUp = () => {
      reject(signal.reason);
      if (--flight.callers > 0) {
        return;
      }
      this.#land(key, flight);
      flight.controller.abort(signal.reason);
    };
    signal.addEventListener("abort", giveUp, { once: true });
    flight.result.then(resolve, reject).finally(() => signal.removeEventListener("abort", giveUp));
    return promise;
  }

  #land(key: string, flight: Flight<T>): void {
    if (this.#flights.get(key) === flight) {
      this.#flights.delete(key);
    }
  }
}

interface Flight<T> {
  readonly controller: AbortController;
  callers: number;
  readonly result: Promise<T>;
}
