import { setTimeout as delay } from "node:timers/promises";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { asBlobError, BlobError } from "../../reapi/blob-error.ts";

/** Where time comes from, so that tests need not wait for it. */
export interface Clock {
  /** Rejects when the signal aborts. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
  /** Calls back once; the returned function cancels. */
  timer(milliseconds: number, callback: () => void): () => void;
  /** Milliseconds, never going back. */
  now(): number;
}

export const SYSTEM_CLOCK: Clock = {
  sleep: (milliseconds, signal) => delay(milliseconds, undefined, signal && { signal }),
  timer(milliseconds, callback) {
    const timeout = setTimeout(callback, milliseconds);
    return () => clearTimeout(timeout);
  },
  now: () => performance.now(),
};

/** How long and how often to try. A server that does not answer fails a call after at most
 * `maximumAttempts × (timeout + maximumDelayMilliseconds)`. */
export interface RetryPolicy {
  /** Attempts without progress. A stream that brought data begins to count anew. */
  readonly maximumAttempts: number;
  /** Doubles with each attempt; what is waited is between half of it and all of it. */
  readonly initialDelayMilliseconds: number;
  readonly maximumDelayMilliseconds: number;
  /** For one attempt of a call that is not a stream. */
  readonly attemptTimeoutMilliseconds: number;
  /** Longest silence in a stream. */
  readonly idleTimeoutMilliseconds: number;
}

export const DEFAULT_RETRY_POLICY: RetryPolicy = {
  maximumAttempts: 5,
  initialDelayMilliseconds: 100,
  maximumDelayMilliseconds: 5_000,
  attemptTimeoutMilliseconds: 30_000,
  idleTimeoutMilliseconds: 30_000,
};

export interface Attempt {
  readonly signal: AbortSignal;
  /** The server is still there: the timeout begins anew. */
  alive(): void;
  /** Something is done that need not be repeated: so does the counting of attempts. */
  progress(): void;
}

/**
 * Runs `attempt` until it succeeds, fails with a status that a repetition cannot change, or has failed
 * `maximumAttempts` times without progress. An attempt is aborted, and fails with DEADLINE_EXCEEDED, when
 * it shows no life for `timeoutMilliseconds`. Rejects with {@link BlobError}; with the signal's reason
 * once that aborts.
 */
export async function retry<T>(
  what: string,
  policy: RetryPolicy,
  timeoutMilliseconds: number,
  clock: Clock,
  signal: AbortSignal | undefined,
  attempt: (attempt: Attempt) => Promise<T>,
): Promise<T> {
  let failures = 0;
  for (;;) {
    signal?.throwIfAborted();
    const controller = new AbortController();
    const abort = () => controller.abort();
    signal?.addEventListener("abort", abort);
    let silent = false;
    const timeOut = () => {
      silent = true;
      controller.abort();
    };
    let ended = false;
    let cancelTimer = clock.timer(timeoutMilliseconds, timeOut);
    const alive = () => {
      if (ended) {
        return;
      }
      cancelTimer();
      cancelTimer = clock.timer(timeoutMilliseconds, timeOut);
    };
    const progress = () => {
      failures = 0;
      alive();
    };
    try {
      return await attempt({ signal: controller.signal, alive, progress });
    } catch (error) {
      signal?.throwIfAborted();
      const failure = silent
        ? new BlobError(
            Code.DEADLINE_EXCEEDED,
            `${what}: no answer for ${timeoutMilliseconds / 1000} s, ${failures + 1} of ${policy.maximumAttempts} attempts`,
          )
        : asBlobError(error, what);
      failures++;
      if (failures >= policy.maximumAttempts || !(silent || isRetriable(failure))) {
        throw failure;
      }
    } finally {
      ended = true;
      cancelTimer();
      signal?.removeEventListener("abort", abort);
    }
    const ceiling = Math.min(
      policy.maximumDelayMilliseconds,
      policy.initialDelayMilliseconds * 2 ** (failures - 1),
    );
    await clock.sleep(ceiling * (0.5 + Math.random() / 2), signal);
  }
}

/**
 * CANCELLED is here because we ask only when we have not cancelled ourselves: then the server went away.
 * grpc-js reports a stream that the server reset as INTERNAL.
 */
function isRetriable({ code, message }: BlobError): boolean {
  return (
    code === Code.UNAVAILABLE ||
    code === Code.DEADLINE_EXCEEDED ||
    code === Code.ABORTED ||
    code === Code.CANCELLED ||
    (code === Code.INTERNAL && message.includes("RST_STREAM"))
  );
}
