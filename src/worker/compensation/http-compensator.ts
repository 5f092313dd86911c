import { setTimeout } from "node:timers/promises";
import type { HttpCompensatorSettings } from "../../config/bb-worker/http-compensator.ts";
import { HttpClient } from "../../http/client.ts";
import type { Log } from "../../telemetry/log.ts";
import { ProblemLog } from "../../telemetry/problem-log.ts";
import type { ExecutionTimeouts } from "./execution-timeouts.ts";

export interface HttpCompensatorOptions {
  readonly settings: HttpCompensatorSettings;
  readonly timeouts: Pick<ExecutionTimeouts, "suspend" | "resume">;
  readonly log: Log;
  /** Waits so many milliseconds, less if the signal aborts. */
  readonly pause?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

/** After a request that failed. */
const RETRY_MILLISECONDS = 1_000;

/**
 * After the clocks go on, so that a server that answers everything at once does not keep the process busy. Buildbarn's
 * clocks are no more precise than that.
 */
const REST_MILLISECONDS = 100;

/**
 * Has a server say when the clocks of all timeouts shall stand still, as it knows what else actions wait for: a request
 * for one URL is answered when they shall stop, and the next, for another URL, when they shall go on. A request that
 * fails is repeated until it is answered, with the clocks as they are; each action's maximum compensation bounds what
 * a server can do. It ends, with the clocks going, when it is disposed of.
 */
export class HttpCompensator implements AsyncDisposable {
  readonly #options: HttpCompensatorOptions;
  readonly #client: HttpClient;
  readonly #problems: ProblemLog;
  readonly #closed = new AbortController();
  readonly #following: Promise<void>;

  constructor(options: HttpCompensatorOptions) {
    this.#options = options;
    this.#client = new HttpClient(options.settings.httpClient);
    this.#problems = new ProblemLog(options.log);
    this.#following = this.#follow();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    await this.#following;
  }

  async #follow(): Promise<void> {
    const { settings, timeouts, pause = wait } = this.#options;
    const { signal } = this.#closed;
    while (await this.#answered(settings.suspendUrl)) {
      timeouts.suspend();
      try {
        await this.#answered(settings.resumeUrl);
      } finally {
        timeouts.resume();
      }
      await pause(REST_MILLISECONDS, signal);
    }
  }

  /** Resolves to whether the server has answered; it has not where this ends before. */
  async #answered(url: string): Promise<boolean> {
    const { pause = wait } = this.#options;
    const { signal } = this.#closed;
    while (!signal.aborted) {
      try {
        await this.#client.getOk(url, signal);
        this.#problems.over("the HTTP execution timeout compensator answers again");
        return true;
      } catch (error) {
        if (!signal.aborted) {
          this.#problems.report(`cannot get ${withoutCredentials(url)}`, error);
          await pause(RETRY_MILLISECONDS, signal);
        }
      }
    }
    return false;
  }
}

async function wait(milliseconds: number, signal: AbortSignal): Promise<void> {
  await setTimeout(milliseconds, undefined, { signal }).catch(() => {});
}

function withoutCredentials(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}
