import { hash } from "node:crypto";

/** Up to this size, a blob's hash is its SHA-256. */
const CHUNK_BYTES = 1024;
/** A hash as the words that SHA-256 computes with. */
type Words = Uint32Array;

/**
 * REAPI's SHA256TREE, incrementally: a binary tree over chunks of 1 KiB, in which each left subtree is the largest
 * full one that leaves something for the right. A parent is what SHA-256's block function, begun with constants of its
 * own, makes of its children's hashes.
 */
export class Sha256Tree {
  readonly #chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  #filled = 0;
  /** Finished chunks before {@link #chunk}. */
  #chunks = 0;
  /** The full subtrees of finished chunks: one for each bit of {@link #chunks}, largest first. */
  readonly #subtrees: Words[] = [];

  update(data: Uint8Array): this {
    for (let position = 0; position < data.length; ) {
      // Only now is it certain that the chunk is not the last.
      if (this.#filled === CHUNK_BYTES) {
        this.#endChunk();
      }
      const part = data.subarray(position, position + CHUNK_BYTES - this.#filled);
      this.#chunk.set(part, this.#filled);
      this.#filled += part.length;
      position += part.length;
    }
    return this;
  }

  digest(_encoding: "hex"): string {
    let root = this.#chunkHash();
    for (let subtree = this.#subtrees.pop(); subtree !== undefined; subtree = this.#subtrees.pop()) {
      root = parentOf(subtree, root);
    }
    const bytes = Buffer.allocUnsafe(4 * root.length);
    for (const [index, word] of root.entries()) {
      bytes.writeUInt32BE(word, 4 * index);
    }
    return bytes.toString("hex");
  }

  #endChunk(): void {
    let subtree = this.#chunkHash();
    this.#filled = 0;
    this.#chunks++;
    for (let half = this.#chunks; half % 2 === 0; half /= 2) {
      subtree = parentOf(this.#subtrees.pop()!, subtree);
    }
    this.#subtrees.push(subtree);
  }

  #chunkHash(): Words {
    const bytes = hash("sha256", this.#chunk.subarray(0, this.#filled), "buffer");
    return Uint32Array.from({ length: 8 }, (_, index) => bytes.readUInt32BE(4 * index));
  }
}

const PRIMES = firstPrimes(64);
/** FIPS 180-4 §4.2.2: the fractional parts of the cube roots of the first 64 primes. */
const ROUND_CONSTANTS = Uint32Array.from(PRIMES, (prime) => fraction(Math.cbrt(prime)));
/** The fractional parts of the square roots of the 9th to the 16th prime. */
const PARENT_STATE = Uint32Array.from(PRIMES.slice(8, 16), (prime) => fraction(Math.sqrt(prime)));

function firstPrimes(count: number): number[] {
  const primes: number[] = [];
  for (let candidate = 2; primes.length < count; candidate++) {
    if (primes.every((prime) => candidate % prime !== 0)) {
      primes.push(candidate);
    }
  }
  return primes;
}

/** The first 32 bits after the point. */
function fraction(value: number): number {
  return Math.floor((value % 1) * 2 ** 32);
}

/** The 64 rounds of SHA-256 (FIPS 180-4 §6.2.2), without the final addition of the initial state. */
function parentOf(left: Words, right: Words): Words {
  const schedule = new Uint32Array(64);
  schedule.set(left, 0);
  schedule.set(right, 8);
  for (let t = 16; t < 64; t++) {
    const before2 = schedule[t - 2]!;
    const before15 = schedule[t - 15]!;
    const sigma1 = rotate(before2, 17) ^ rotate(before2, 19) ^ (before2 >>> 10);
    const sigma0 = rotate(before15, 7) ^ rotate(before15, 18) ^ (before15 >>> 3);
    schedule[t] = sigma1 + schedule[t - 7]! + sigma0 + schedule[t - 16]!;
  }
  let [a, b, c, d, e, f, g, h] = PARENT_STATE as unknown as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  for (let t = 0; t < 64; t++) {
    const sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const choice = (e & f) ^ (~e & g);
    const first = (h + sum1 + choice + ROUND_CONSTANTS[t]! + schedule[t]!) | 0;
    const sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const majority = (a & b) ^ (a & c) ^ (b & c);
    h = g;
    g = f;
    f = e;
    e = (d + first) | 0;
    d = c;
    c = b;
    b = a;
    a = (first + sum0 + majority) | 0;
  }
  return Uint32Array.of(a, b, c, d, e, f, g, h);
}

function rotate(word: number, bits: number): number {
  return (word >>> bits) | (word << (32 - bits));
}
