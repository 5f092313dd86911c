/**
 * An offset in a byte-range lock: a number up to 2^53-1, and a bigint from there to 2^64-1. Only locks do programs
 * place beyond the end of any possible file.
 */
export type LockOffset = number | bigint;

/** The exact sum. */
export function plus(one: LockOffset, other: LockOffset): LockOffset {
  if (typeof one === "number" && typeof other === "number") {
    const sum = one + other;
    if (sum <= Number.MAX_SAFE_INTEGER) {
      return sum;
    }
  }
  return offsetOf(BigInt(one) + BigInt(other));
}

/** The exact difference; `other` is not larger than `one`. */
export function minus(one: LockOffset, other: LockOffset): LockOffset {
  if (typeof one === "number" && typeof other === "number") {
    return one - other;
  }
  return offsetOf(BigInt(one) - BigInt(other));
}

export function smaller(one: LockOffset, other: LockOffset): LockOffset {
  return one < other ? one : other;
}

export function larger(one: LockOffset, other: LockOffset): LockOffset {
  return one > other ? one : other;
}

/** A number wherever that is exact, so that equal offsets are `===`. */
function offsetOf(value: bigint): LockOffset {
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}
