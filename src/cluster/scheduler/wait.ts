/**
 * Waits until `event` resolves or `milliseconds`, which may be infinite, have passed, whichever comes first.
 *
 * Rejects with the signal's reason when that aborts.
 */
export async function waitAtMost(
  event: Promise<void>,
  milliseconds: number,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const over = Promise.withResolvers<void>();
  const abort = () => over.reject(signal.reason);
  const timer = milliseconds < Number.POSITIVE_INFINITY ? setTimeout(over.resolve, milliseconds) : undefined;
  signal.addEventListener("abort", abort);
  try {
    await Promise.race([event, over.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}
