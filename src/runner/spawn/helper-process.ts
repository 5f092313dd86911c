import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { helperPath } from "../../native/helper.ts";
import { encodeMessage, MessageDecoder } from "../../native/message.ts";
import { HelperError } from "./command.ts";

/** How long it may take to end once its input has. */
const CLOSE_MILLISECONDS = 5000;

interface Asked {
  resolve(answer: string[]): void;
  reject(error: unknown): void;
}

/**
 * One run of `native/bb_spawn.c`, which does jobs in processes of its own (`native/serve.h`): they are many times cheaper
 * than those that this process, with all its memory, would start for itself.
 */
export class HelperProcess {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #decoder = new MessageDecoder();
  /** By the numbers of their jobs. */
  readonly #asked = new Map<string, Asked>();
  readonly #ended = Promise.withResolvers<void>();
  #jobs = 0;
  /** Why it does nothing any more. */
  #failure: Error | undefined;

  constructor() {
    // In no directory of an action, and with nothing of the runner's environment to hand on.
    this.#process = spawn(helperPath("bb_spawn"), [], {
      stdio: ["pipe", "pipe", "inherit"],
      cwd: "/",
      env: {},
    });
    this.#process.once("error", (error) => this.#end(error));
    // It may have no pipes then.
    if (this.#process.pid === undefined) {
      return;
    }
    // That it is gone is seen when it closes.
    this.#process.stdin.on("error", () => {});
    this.#process.stdout.on("data", (chunk: Buffer) => this.#receive(chunk));
    this.#process.once("close", (code, killedBy) =>
      this.#end(new Error(`bb_spawn ended without a reply (${killedBy ?? `exit code ${code}`})`)),
    );
  }

  get processId(): number | undefined {
    return this.#process.pid;
  }

  get hasEnded(): boolean {
    const { pid, exitCode, signalCode } = this.#process;
    return pid === undefined || exitCode !== null || signalCode !== null || this.#failure !== undefined;
  }

  /**
   * What it answers to a request. When the signal aborts, it is told to end what it does, and after so many milliseconds
   * the answer is not waited for any more.
   *
   * Throws a {@link HelperError} for "failed", an Error if it ends instead, a RangeError for a string with NUL, and the
   * signal's reason if there is no answer.
   */
  async ask(
    request: readonly (string | number)[],
    signal: AbortSignal | undefined,
    killMilliseconds: number,
  ): Promise<string[]> {
    signal?.throwIfAborted();
    if (this.#failure !== undefined) {
      throw this.#failure;
    }
    const job = `${++this.#jobs}`;
    const message = encodeMessage([job, "begin", ...request]);
    const { promise, resolve, reject } = Promise.withResolvers<string[]>();
    let patience: NodeJS.Timeout | undefined;
    const cancel = () => {
      this.#send(job, "cancel");
      patience = setTimeout(() => {
        this.#send(job, "kill");
        reject(signal?.reason);
      }, killMilliseconds);
    };
    this.#asked.set(job, { resolve, reject });
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      this.#process.stdin?.write(message);
      const [verb, ...answer] = await promise;
      switch (verb) {
        case "exited":
        case "probed":
          return answer;
        case "failed":
          throw new HelperError(answer);
        default:
          signal?.throwIfAborted();
          throw new Error(`bb_spawn ended without a reply (${answer.join(" ")})`);
      }
    } finally {
      clearTimeout(patience);
      signal?.removeEventListener("abort", cancel);
      this.#asked.delete(job);
    }
  }

  /** Ends all jobs. Resolves once it is gone: one that a command has stopped is killed after a while. */
  async close(milliseconds = CLOSE_MILLISECONDS): Promise<void> {
    this.#process.stdin?.end();
    const late = setTimeout(() => this.#process.kill("SIGKILL"), milliseconds);
    await this.#ended.promise;
    clearTimeout(late);
  }

  #send(job: string, verb: string): void {
    this.#process.stdin?.write(encodeMessage([job, verb]));
  }

  #receive(chunk: Buffer): void {
    try {
      for (const [job = "", ...answer] of this.#decoder.push(chunk)) {
        this.#asked.get(job)?.resolve(answer);
      }
    } catch (error) {
      this.#process.kill("SIGKILL");
      this.#end(error as Error);
    }
  }

  #end(failure: Error): void {
    this.#failure ??= failure;
    for (const { reject } of this.#asked.values()) {
      reject(this.#failure);
    }
    this.#ended.resolve();
  }
}
