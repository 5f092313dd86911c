import { setTimeout } from "node:timers/promises";
import { waitAtMost } from "../../async/wait.ts";
import type { Client } from "../../grpc/client.ts";
import { failure } from "../../grpc/status.ts";
import type {
  CompletedAction,
  CompletedActionLogger as Service,
} from "../../proto/gen/buildbarn/completedactionlogger/completed_action_logger_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import type { Log } from "../../telemetry/log.ts";
import { ProblemLog } from "../../telemetry/problem-log.ts";

export interface CompletedActionLoggerOptions {
  readonly client: Pick<Client<typeof Service>, "logCompletedActions">;
  /** Actions that the server has not acknowledged. */
  readonly maximumQueueSize: number;
  readonly log: Log;
  /** The longest pause before a new stream, in milliseconds; the pause is random. Default 5000. */
  readonly maximumBackoff?: number;
  /** How long {@link CompletedActionLogger} waits at its end for acknowledgements, in milliseconds. Default 5000. */
  readonly flushTimeout?: number;
}

/** Milliseconds: at the end, little time is left. */
const BACKOFF_AT_END = 250;

/** What became of the actions, counted from the start. One that is sent again counts as sent again. */
export interface CompletedActionCounts {
  queued: number;
  discarded: number;
  sent: number;
  acknowledged: number;
}

/**
 * Tells a server of actions by CompletedActionLogger.LogCompletedActions, and keeps each until the server has
 * acknowledged it: what was not is sent again, in order, when a stream is lost. So the server gets every action at least
 * once, except for those that come while the queue is full.
 *
 * It tries from its construction until its disposal, which gives the server some time for what is left.
 */
export class CompletedActionLogger implements AsyncDisposable {
  readonly counts: CompletedActionCounts = { queued: 0, discarded: 0, sent: 0, acknowledged: 0 };
  readonly #options: CompletedActionLoggerOptions;
  readonly #problems: ProblemLog;
  /** The oldest first. */
  readonly #queue: CompletedAction[] = [];
  #changed = Promise.withResolvers<void>();
  readonly #emptied = Promise.withResolvers<void>();
  readonly #ending = new AbortController();
  readonly #closed = new AbortController();
  readonly #sending: Promise<void>;

  constructor(options: CompletedActionLoggerOptions) {
    this.#options = options;
    this.#problems = new ProblemLog(options.log);
    this.#sending = this.#keepSending();
  }

  /** Drops the action if the queue is full. */
  logCompletedAction(action: CompletedAction): void {
    const { maximumQueueSize, log } = this.#options;
    if (this.#queue.length >= maximumQueueSize) {
      this.counts.discarded++;
      log.warn("a completed action is not reported: too many others are not acknowledged", {
        maximumQueueSize,
        discarded: this.counts.discarded,
      });
      return;
    }
    this.#queue.push(action);
    this.counts.queued++;
    this.#wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { log, flushTimeout = 5_000 } = this.#options;
    this.#ending.abort();
    if (this.#queue.length > 0) {
      await waitAtMost(this.#emptied.promise, flushTimeout);
    }
    this.#closed.abort();
    await this.#sending;
    if (this.#queue.length > 0) {
      log.warn("completed actions were not acknowledged in time, and may be lost", {
        actions: this.#queue.length,
      });
    }
    log.info("no more completed actions are reported", { ...this.counts });
  }

  async #keepSending(): Promise<void> {
    const { maximumBackoff = 5_000 } = this.#options;
    while (!this.#closed.signal.aborted) {
      try {
        await this.#useStream();
      } catch (error) {
        if (!this.#closed.signal.aborted) {
          this.#problems.report("cannot report completed actions", error);
        }
      }
      const [longest, cut] = this.#ending.signal.aborted
        ? [Math.min(maximumBackoff, BACKOFF_AT_END), this.#closed.signal]
        : [maximumBackoff, this.#ending.signal];
      // An abort ends the pause early.
      await setTimeout(Math.random() * longest, undefined, { signal: cut }).catch(() => {});
    }
  }

  /** Sends the whole queue, and what is added to it, over one stream. Throws when the stream ends. */
  async #useStream(): Promise<void> {
    const stream = { sent: 0, ended: false };
    try {
      const requests = this.#requests(stream);
      const signal = this.#closed.signal;
      for await (const _ of this.#options.client.logCompletedActions(requests, { signal })) {
        if (stream.sent === 0) {
          throw failure(Code.FAILED_PRECONDITION, "the server acknowledged an action that was not sent");
        }
        stream.sent--;
        this.#queue.shift();
        this.counts.acknowledged++;
        this.#problems.over("completed actions are reported again");
        if (this.#queue.length === 0 && this.#ending.signal.aborted) {
          this.#emptied.resolve();
        }
      }
      throw failure(Code.UNAVAILABLE, "the server ended the stream");
    } finally {
      stream.ended = true;
      this.#wake();
    }
  }

  /** `sent` is how many of the queue's first actions the stream has carried. */
  async *#requests(stream: { sent: number; readonly ended: boolean }): AsyncGenerator<CompletedAction> {
    while (!stream.ended) {
      const changed = this.#changed.promise;
      const next = this.#queue[stream.sent];
      if (next === undefined) {
        await changed;
        continue;
      }
      stream.sent++;
      this.counts.sent++;
      yield next;
    }
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
