import type { MaybePromise } from "../file-system.ts";

/**
 * Goes on with the value: at once where it is there, else when the promise has settled. For the operations that a
 * client sends by the thousand, which make no promise where the answer is in memory; all others are async functions.
 */
export function andThen<T, U>(value: MaybePromise<T>, next: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}
