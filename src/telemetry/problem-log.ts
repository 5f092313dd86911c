import type { Log } from "./log.ts";

/** Logs what is tried again and again: when a problem begins, occasionally while it lasts, and when it is over. */
export class ProblemLog {
  readonly #log: Log;
  readonly #now: () => number;
  #reported: { readonly problem: string; readonly text: string; readonly at: number } | undefined;

  constructor(log: Log, now: () => number = () => performance.now()) {
    this.#log = log;
    this.#now = now;
  }

  /** The problem that lasts, if there is one. */
  get current(): string | undefined {
    return this.#reported?.text;
  }

  report(message: string, error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    // The text of a gRPC error may differ each time, as when it names the directory that was asked for.
    const problem = `${message}: ${(error as { code?: number } | undefined)?.code ?? text}`;
    const now = this.#now();
    if (this.#reported?.problem !== problem || now - this.#reported.at > REPEAT_MILLISECONDS) {
      this.#reported = { problem, text: `${message}: ${text}`, at: now };
      this.#log.warn(this.#reported.text);
    }
  }

  /** Says so by `message` if a problem was reported. */
  over(message: string): void {
    if (this.#reported !== undefined) {
      this.#reported = undefined;
      this.#log.info(message);
    }
  }
}

const REPEAT_MILLISECONDS = 60_000;
