import { randomInt } from "node:crypto";

/** In which order a cache gives up its keys. No key is added twice. */
export interface EvictionOrder {
  add(key: string): void;
  /** Takes note that a key is used. */
  touch(key: string): void;
  delete(key: string): void;
  /** All keys, those that should go first before others. The one that was given last may be deleted meanwhile. */
  candidates(): Iterable<string>;
}

/** Buildbarn's CacheReplacementPolicy. */
export type ReplacementPolicy = "firstInFirstOut" | "leastRecentlyUsed" | "randomReplacement";

export function evictionOrder(policy: ReplacementPolicy): EvictionOrder {
  return policy === "randomReplacement"
    ? new RandomOrder()
    : new SequentialOrder(policy === "leastRecentlyUsed");
}

/** The one that was added first, or used longest ago, goes first. */
class SequentialOrder implements EvictionOrder {
  readonly #movesWhenUsed: boolean;
  readonly #keys = new Set<string>();

  constructor(movesWhenUsed: boolean) {
    this.#movesWhenUsed = movesWhenUsed;
  }

  add(key: string): void {
    this.#keys.add(key);
  }

  touch(key: string): void {
    if (this.#movesWhenUsed && this.#keys.delete(key)) {
      this.#keys.add(key);
    }
  }

  delete(key: string): void {
    this.#keys.delete(key);
  }

  candidates(): Iterable<string> {
    return this.#keys.values();
  }
}

/** Each key is put at a random place of a list, whose last one goes first. */
class RandomOrder implements EvictionOrder {
  readonly #keys: string[] = [];
  readonly #positions = new Map<string, number>();

  add(key: string): void {
    const position = randomInt(this.#keys.length + 1);
    const displaced = this.#keys[position];
    if (displaced !== undefined) {
      this.#place(displaced, this.#keys.length);
    }
    this.#place(key, position);
  }

  touch(): void {}

  delete(key: string): void {
    const position = this.#positions.get(key);
    if (position === undefined) {
      return;
    }
    const last = this.#keys.pop()!;
    if (last !== key) {
      this.#place(last, position);
    }
    this.#positions.delete(key);
  }

  *candidates(): Iterable<string> {
    for (let position = this.#keys.length - 1; position >= 0; position--) {
      yield this.#keys[position]!;
    }
  }

  #place(key: string, position: number): void {
    this.#keys[position] = key;
    this.#positions.set(key, position);
  }
}
