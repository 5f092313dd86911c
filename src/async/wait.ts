/** The longest time that setTimeout can wait, some 25 days; it turns anything longer into 1 ms. */
export const MAXIMUM_TIMER_MILLISECONDS = 2 ** 31 - 1;

/**
 * Waits for the promise, but no longer than `milliseconds`, which may be infinite. Resolves to whether the promise
 * was fulfilled in time. Rejects if the promise does, and with the signal's reason once that aborts.
 */
export async function waitAtMost(
  promise: Promise<unknown>,
  milliseconds: number,
  signal?: AbortSignal,
): Promise<boolean> {
  const timeUp = Promise.withResolvers<boolean>();
  // Node warns of negative times.
  const timer = setTimeout(
    timeUp.resolve,
    Math.min(Math.max(milliseconds, 0), MAXIMUM_TIMER_MILLISECONDS),
    false,
  );
  const inTime = Promise.race([promise.then(() => true), timeUp.promise]);
  try {
    return await (signal === undefined ? inTime : unlessAborted(inTime, signal));
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Settles as the promise does, or rejects with the signal's reason once that aborts. The work behind the promise is
 * not stopped by that.
 */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort);
  if (signal.aborted) {
    abort();
  }
  try {
    return await Promise.race([aborted.promise, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
