import type { Name } from "../../nfs/file-system.ts";

const SLASH = 0x2f;
/** FNV-1a's 64-bit prime is 2^40 + 435. */
const LOW_PRIME = 435;
/** Up to here, the remainder of a 64-bit hash can be computed in doubles. */
const MAXIMUM_PLAIN_DIVISOR = 2 ** 21;

/**
 * The 64-bit FNV-1a hash of a path: nothing for the input root, "/a/b" for what is below. Held in two halves, since a
 * directory's names are hashed by the thousand.
 */
export class PathHash {
  static readonly ROOT = new PathHash(0xcbf29ce4, 0x84222325);

  readonly #high: number;
  readonly #low: number;

  private constructor(high: number, low: number) {
    this.#high = high;
    this.#low = low;
  }

  append(component: Name): PathHash {
    let { high, low } = step(this.#high, this.#low, SLASH);
    for (let index = 0; index < component.length; index++) {
      ({ high, low } = step(high, low, component.charCodeAt(index)));
    }
    return new PathHash(high, low);
  }

  /** The hash of the path with one more slash: the filter's next hash function. */
  next(): PathHash {
    const { high, low } = step(this.#high, this.#low, SLASH);
    return new PathHash(high, low);
  }

  modulo(divisor: number): number {
    if (divisor > MAXIMUM_PLAIN_DIVISOR) {
      return Number(((BigInt(this.#high) << 32n) | BigInt(this.#low)) % BigInt(divisor));
    }
    return ((this.#high % divisor) * (2 ** 32 % divisor) + this.#low) % divisor;
  }
}

function step(high: number, low: number, byte: number): { high: number; low: number } {
  const mixed = (low ^ byte) >>> 0;
  const product = mixed * LOW_PRIME;
  return {
    high: (high * LOW_PRIME + Math.floor(product / 2 ** 32) + mixed * 2 ** 8) >>> 0,
    low: product >>> 0,
  };
}
