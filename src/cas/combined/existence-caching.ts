import { LRUCache } from "lru-cache";
import type { PortableDigest, PortableError } from "../transfer/portable.ts";
import type { Fetched } from "../transfer/transfer-task.ts";
import type { RandomAccess } from "../transfer/upload-source.ts";
import {
  type BlobAccess,
  type FetchOptions,
  keyOf,
  type RangeTask,
  type Run,
  type SmallUpload,
  type TakeChunk,
  without,
} from "./blob-access.ts";

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
      max: maximumCount,
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
export class ExistenceCaching implements BlobAccess {
  readonly #base: BlobAccess;
  readonly #cache: ExistenceCache;

  constructor(base: BlobAccess, cache: ExistenceCache) {
    this.#base = base;
    this.#cache = cache;
  }

  fetchBlobs(
    run: Run,
    digests: readonly PortableDigest[],
    options: FetchOptions,
  ): Promise<readonly Fetched[]> {
    return this.#base.fetchBlobs(run, digests, options);
  }

  fetchRange(run: Run, task: RangeTask, chunk: TakeChunk, signal?: AbortSignal): Promise<void> {
    return this.#base.fetchRange(run, task, chunk, signal);
  }

  async findMissing(
    run: Run,
    digests: readonly PortableDigest[],
    signal?: AbortSignal,
  ): Promise<readonly PortableDigest[]> {
    const unknown = this.#cache.unknown(digests);
    if (unknown.length === 0) {
      return [];
    }
    const missing = await this.#base.findMissing(run, unknown, signal);
    this.#cache.add(without(unknown, missing));
    return missing;
  }

  uploadBatch(
    run: Run,
    blobs: readonly SmallUpload[],
    signal?: AbortSignal,
  ): Promise<readonly (PortableError | undefined)[]> {
    return this.#base.uploadBatch(run, blobs, signal);
  }

  upload(run: Run, digest: PortableDigest, source: RandomAccess, signal?: AbortSignal): Promise<void> {
    return this.#base.upload(run, digest, source, signal);
  }
}
