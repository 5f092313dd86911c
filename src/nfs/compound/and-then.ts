import type { MaybePromise } from "../file-system.ts";

/**
 * Continues with the value: at once if it is there, else when the promise is fulfilled. For operations that clients
 * send by the thousand, which make no promise if the answer is in memory; all others are async functions.
 */
export function andThen<T, U>(value: MaybePromise<T>, next: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}
