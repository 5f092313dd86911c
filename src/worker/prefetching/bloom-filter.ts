import type { PathHash } from "./path-hash.ts";

/** As FileSystemAccessProfile has it. */
export interface EncodedBloomFilter {
  readonly bloomFilter: Uint8Array;
  readonly bloomFilterHashFunctions: number;
}

export interface BloomFilterSize {
  readonly bitsPerPath: number;
  readonly maximumSizeBytes: number;
}

/** What a filter is checked with at most: one that asks for more has only more false positives then. */
const MAXIMUM_HASH_FUNCTIONS = 1000;

/** The set of paths as a Bloom filter, bit for bit as Buildbarn makes it. */
export function encodeBloomFilter(
  paths: readonly PathHash[],
  { bitsPerPath, maximumSizeBytes }: BloomFilterSize,
): EncodedBloomFilter {
  const sizeBits = filterBits(paths.length * bitsPerPath, maximumSizeBytes);
  const hashFunctions =
    paths.length === 0 ? 1 : Math.max(1, Math.round((sizeBits / paths.length) * Math.LN2));
  const bloomFilter = new Uint8Array(Math.floor(sizeBits / 8) + 1);
  // What follows the last bit: from it readers know how many there are.
  setBit(bloomFilter, sizeBits);
  for (const path of paths) {
    let hash = path;
    for (let index = 0; index < hashFunctions; index++) {
      setBit(bloomFilter, hash.modulo(sizeBits));
      hash = hash.next();
    }
  }
  return { bloomFilter, bloomFilterHashFunctions: hashFunctions };
}

/** A filter from the wire. */
export class BloomFilter {
  readonly #bits: Uint8Array;
  readonly #sizeBits: number;
  readonly #hashFunctions: number;

  /** Throws RangeError for one that does not say where it ends. */
  constructor({ bloomFilter, bloomFilterHashFunctions }: EncodedBloomFilter) {
    const last = bloomFilter.at(-1) ?? 0;
    // Buildbarn takes no filter whose last byte has nothing but the terminator, either.
    if (last <= 1) {
      throw new RangeError("the Bloom filter does not end with a bit that terminates it");
    }
    this.#bits = bloomFilter;
    this.#sizeBits = 8 * bloomFilter.length - Math.clz32(last << 24) - 1;
    this.#hashFunctions = Math.min(bloomFilterHashFunctions, MAXIMUM_HASH_FUNCTIONS);
  }

  contains(path: PathHash): boolean {
    let hash = path;
    for (let index = 0; index < this.#hashFunctions; index++) {
      const bit = hash.modulo(this.#sizeBits);
      if ((this.#bits[bit >>> 3]! & (1 << (bit & 7))) === 0) {
        return false;
      }
      hash = hash.next();
    }
    return true;
  }
}

/** The first prime of those just below 2^3, 2^4, … that has room for `wanted` bits, or the last within the limit. */
function filterBits(wanted: number, maximumSizeBytes: number): number {
  let sizeBits = 7;
  for (let exponent = 3; exponent < 48 && sizeBits < wanted; exponent++) {
    const next = largestPrimeBelow(2 ** exponent);
    if (Math.floor(next / 8) + 1 > maximumSizeBytes) {
      break;
    }
    sizeBits = next;
  }
  return sizeBits;
}

function largestPrimeBelow(limit: number): number {
  for (let candidate = limit - 1; ; candidate -= 2) {
    if (isPrime(candidate)) {
      return candidate;
    }
  }
}

function isPrime(odd: number): boolean {
  for (let divisor = 3; divisor * divisor <= odd; divisor += 2) {
    if (odd % divisor === 0) {
      return false;
    }
  }
  return true;
}

function setBit(bits: Uint8Array, bit: number): void {
  bits[Math.floor(bit / 8)]! |= 1 << (bit % 8);
}
