import { createHash } from "node:crypto";

/** A storage server's part of the blobs, in Buildbarn's `sharding` configuration. */
export interface Shard {
  readonly key: string;
  /** Its share relative to the others', above 0. */
  readonly weight: number;
}

const MASK64 = (1n << 64n) - 1n;
const TABLE_BITS = 6;

/**
 * The fraction of log2(x) for x in [1, 2), at steps of 1/64, with 16 fractional bits; one more entry, where the
 * fraction overflows to 0, for the interpolation.
 */
const LOG2_TABLE = Array.from({ length: (1 << TABLE_BITS) + 1 }, (_, index) =>
  BigInt(Math.round(Math.log2(1 + index / (1 << TABLE_BITS)) * 65536) & 0xffff),
);

/**
 * Says on which shard a blob lies: rendezvous hashing, by the same arithmetic as Buildbarn's storage, as all
 * its clients must agree. The order of the shards does not matter.
 */
export function shardSelector(shards: readonly Shard[]): (hash: string) => number {
  const keyed = shards.map(({ key, weight }, index) => ({
    index,
    weight: BigInt(weight) << 32n,
    keyHash: createHash("sha256").update(key).digest().readBigUInt64BE(),
  }));
  keyed.sort((a, b) => (a.keyHash < b.keyHash ? -1 : 1));
  return (hash) => {
    const blobHash = BigInt(`0x${hash.slice(0, 16)}`);
    let best = 0n;
    let bestIndex = 0;
    for (const { index, weight, keyHash } of keyed) {
      // weight / -log2(x / 2^64) for the pseudo-random x: the largest wins.
      const score = weight / ((64n << 16n) - log2(mix(keyHash ^ blobHash)));
      if (score > best) {
        best = score;
        bestIndex = index;
      }
    }
    return bestIndex;
  };
}

/** The mixing steps of splitmix64. */
function mix(x: bigint): bigint {
  x = ((x ^ (x >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK64;
  x = ((x ^ (x >> 27n)) * 0x94d049bb133111ebn) & MASK64;
  return x ^ (x >> 31n);
}

/** log2 of an unsigned 64-bit number, with 16 fractional bits, interpolated from the table. */
function log2(x: bigint): bigint {
  const exponent = BigInt(Math.max(0, x.toString(2).length - 1));
  const fraction = (x << (64n - exponent)) & MASK64;
  const index = Number(fraction >> BigInt(64 - TABLE_BITS));
  const rest = ((fraction << BigInt(TABLE_BITS)) & MASK64) >> 16n;
  const base = LOG2_TABLE[index]!;
  const step = (LOG2_TABLE[index + 1]! - base) & 0xffffn;
  return (exponent << 16n) | ((((base << 48n) + step * rest) & MASK64) >> 48n);
}
