import type { ExecutionTimeout } from "../action/execution-timeout.ts";

/** The timeouts of all commands that run in the process, whose clocks can be stopped together. */
export class ExecutionTimeouts {
  readonly #running = new Set<Pick<ExecutionTimeout, "suspend" | "resume">>();
  #suspensions = 0;

  /** Takes the timeout in until it is disposed of. If the clocks stand still, so does that of the timeout. */
  add(timeout: Pick<ExecutionTimeout, "suspend" | "resume">): Disposable {
    this.#running.add(timeout);
    if (this.#suspensions > 0) {
      timeout.suspend();
    }
    return { [Symbol.dispose]: () => this.#running.delete(timeout) };
  }

  /** Stops all clocks. Each call must be followed by one of {@link resume}; the clocks go on after the last. */
  suspend(): void {
    if (this.#suspensions++ === 0) {
      for (const timeout of this.#running) {
        timeout.suspend();
      }
    }
  }

  resume(): void {
    if (--this.#suspensions === 0) {
      for (const timeout of this.#running) {
        timeout.resume();
      }
    }
  }
}
