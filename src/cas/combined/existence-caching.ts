import { LRUCache } from "lru-cache";
import type { PortableDigest } from "../transfer/portable.ts";
import { type BlobAccess, keyOf, type Run, without } from "./blob-access.ts";
import { Forwarding } from "./forwarding.ts";

export interface ExistenceCacheOptions {
  readonly maximumCount: number;
  readonly durationMilliseconds: number;
  /** Milliseconds, never going back. Default: performance.now(). */
  readonly now?: () => number;
}

/** Digests that were there when storage was last asked, so that it is not asked again for a while. */
export class ExistenceCache {
  readonly #existing: LRUCache<string, true>;

  constructor({ maximumCount, durationMilliseconds, now }: ExistenceCacheOptions) {
    this.#existing = new LRUCache({
      // Not as `max`, for which it would allocate at once.
      maxSize: maximumCount,
      sizeCalculation: () => 1,
      ttl: durationMilliseconds,
      ...(now && { perf: { now } }),
      ttlResolution: 0,
    });
  }

  /** Those of the digests that are not known to exist. */
  unknown(digests: readonly PortableDigest[]): readonly PortableDigest[] {
    return digests.filter((digest) => this.#existing.get(keyOf(digest)) === undefined);
  }

  add(digests: readonly PortableDigest[]): void {
    for (const digest of digests) {
      this.#existing.set(keyOf(digest), true);
    }
  }
}

/** Buildbarn's `existenceCaching`: what another backend had a short while ago, it still has. */
export class ExistenceCaching extends Forwarding {
  readonly #cache: ExistenceCache;

  constructor(base: BlobAccess, cache: ExistenceCache) {
    super(base);
    this.#cache = cache;
  }

  override async findMissing(
    run: Run,
    digests: readonly PortableDigest[],
    signal?: AbortSignal,
  ): Promise<readonly PortableDigest[]> {
    const unknown = this.#cache.unknown(digests);
    if (unknown.length === 0) {
      return [];
    }
    const missing = await super.findMissing(run, unknown, signal);
    this.#cache.add(without(unknown, missing));
    return missing;
  }
}
