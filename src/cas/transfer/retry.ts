import { setTimeout as delay } from "node:timers/promises";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { asBlobError, BlobError } from "../../reapi/blob-error.ts";

/** Where time comes from, so that tests need not wait for it. */
export interface Clock {
  /** Rejects when the signal aborts. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
  /** Calls back once, unless the returned function is called first. */
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

/**
 * How long and how often to try. A call to a server that does not answer fails after at most
 * `maximumAttempts × (timeout + maximumDelayMilliseconds)`.
 */
export interface RetryPolicy {
  /** Attempts without progress: after data has come, counting begins anew. */
  readonly maximumAttempts: number;
  /** Doubles with each attempt. The actual delay is random, between half of it and all of it. */
  readonly initialDelayMilliseconds: number;
  readonly maximumDelayMilliseconds: number;
  /** For one attempt of a call that is not a stream. */
  readonly attemptTimeoutMilliseconds: number;
  /** The longest silence in a stream. */
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
  /** The server is still there: starts the timeout anew. */
  alive(): void;
  /** Part of the work need not be repeated: starts the timeout and the counting of attempts anew. */
  progress(): void;
}

/**
 * Runs `attempt` until it succeeds, fails with a status that no repetition can change, or has failed
 * `maximumAttempts` times without progress. An attempt that shows no life for `timeoutMilliseconds` is aborted,
 * and fails with DEADLINE_EXCEEDED. Rejects with {@link BlobError}; with the signal's reason once that aborts.
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
 * CANCELLED means that the server went away, as what we cancel ourselves does not come here. grpc-js reports a
 * stream that the server reset as INTERNAL.
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
