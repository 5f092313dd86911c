import {
  type Attributes,
  type CloneableFile,
  type HugeFile,
  isHuge,
  type Offset,
  type RegularFile,
  type SparseFile,
} from "../file-system.ts";

/** As far as a file may go: its last byte is the one before. */
export const MAXIMUM_OFFSET: bigint = 2n ** 63n - 1n;

export function sizeOf(attributes: Attributes): Offset {
  return attributes.size <= Number.MAX_SAFE_INTEGER ? attributes.size : attributes.hugeSize!;
}

/** The same attributes with another size. */
export function withSize(attributes: Attributes, size: Offset): Attributes {
  return { ...attributes, size: Number(size), hugeSize: typeof size === "bigint" ? size : undefined };
}

/** A file of which all that is asked lies where the file can be: see {@link withinReach}. */
export type ReachedFile = RegularFile & HugeFile;
export type ReachedSparseFile = RegularFile & SparseFile<Offset>;
export type ReachedCloneableFile = RegularFile & CloneableFile<Offset>;

/**
 * Whether the file can be so long that it has `length` bytes from `offset` on. One that is not huge never gets to
 * see a bigint, so that it passes for one that takes {@link Offset}s.
 */
export function withinReach(file: RegularFile, offset: Offset, length: Offset): file is ReachedFile {
  if (typeof offset === "number" && typeof length === "number") {
    if (offset + length <= Number.MAX_SAFE_INTEGER) {
      return true;
    }
  }
  return isHuge(file) && plus(offset, length) <= MAXIMUM_OFFSET;
}

/** As far as the file can go. */
export function reachOf(file: RegularFile): Offset {
  return isHuge(file) ? MAXIMUM_OFFSET : Number.MAX_SAFE_INTEGER;
}

/** The exact sum. */
export function plus(one: Offset, other: Offset): Offset {
  if (typeof one === "number" && typeof other === "number") {
    const sum = one + other;
    if (sum <= Number.MAX_SAFE_INTEGER) {
      return sum;
    }
  }
  return offsetOf(BigInt(one) + BigInt(other));
}

/** The exact difference; `other` is not larger than `one`. */
export function minus(one: Offset, other: Offset): Offset {
  if (typeof one === "number" && typeof other === "number") {
    return one - other;
  }
  return offsetOf(BigInt(one) - BigInt(other));
}

export function smaller<T extends Offset>(one: T, other: T): T {
  return one < other ? one : other;
}

export function larger<T extends Offset>(one: T, other: T): T {
  return one > other ? one : other;
}

/** A number where that is exact: so that two equal offsets are `===`. */
export function offsetOf(value: bigint): Offset {
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}
