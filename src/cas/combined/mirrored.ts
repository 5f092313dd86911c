import type { PortableDigest, PortableError } from "../transfer/portable.ts";
import type { Fetched } from "../transfer/transfer-task.ts";
import type { RandomAccess } from "../transfer/upload-source.ts";
import {
  type BlobAccess,
  type FetchOptions,
  ofBackend,
  type RangeTask,
  type Run,
  type SmallUpload,
  type TakeChunk,
  without,
} from "./blob-access.ts";
import {
  fetchRangeThrough,
  fetchThrough,
  type Named,
  type ReadThrough,
  replicateExisting,
} from "./read-through.ts";
import type { Replicator } from "./replicator.ts";

/**
 * Buildbarn's `mirrored`: both backends have everything. They are read from in turn; what only one of them has is copied
 * to the other. Both must be up.
 */
export class Mirrored implements BlobAccess {
  readonly #a: Named;
  readonly #b: Named;
  readonly #aToB: Replicator;
  readonly #bToA: Replicator;
  #reads = 0;

  constructor(a: BlobAccess, b: BlobAccess, aToB: Replicator, bToA: Replicator) {
    this.#a = { name: "backend A", access: a };
    this.#b = { name: "backend B", access: b };
    this.#aToB = aToB;
    this.#bToA = bToA;
  }

  fetchBlobs(
    run: Run,
    digests: readonly PortableDigest[],
    options: FetchOptions,
  ): Promise<readonly Fetched[]> {
    return fetchThrough(this.#next(), run, digests, options);
  }

  fetchRange(run: Run, task: RangeTask, chunk: TakeChunk, signal?: AbortSignal): Promise<void> {
    return fetchRangeThrough(this.#next(), run, task, chunk, signal);
  }

  async findMissing(
    run: Run,
    digests: readonly PortableDigest[],
    signal?: AbortSignal,
  ): Promise<readonly PortableDigest[]> {
    const [missingFromA, missingFromB] = await this.#both(({ access }) =>
      access.findMissing(run, digests, signal),
    );
    const onlyInB = without(missingFromA, missingFromB);
    const onlyInA = without(missingFromB, missingFromA);
    await Promise.all([
      replicateExisting(this.#aToB, run, onlyInA, this.#a.name, signal),
      replicateExisting(this.#bToA, run, onlyInB, this.#b.name, signal),
    ]);
    return without(missingFromA, onlyInB);
  }

  async uploadBatch(
    run: Run,
    blobs: readonly SmallUpload[],
    signal?: AbortSignal,
  ): Promise<readonly (PortableError | undefined)[]> {
    const [inA, inB] = await this.#both(async ({ name, access }) => {
      const failures = await access.uploadBatch(run, blobs, signal);
      return failures.map((failure) => failure && { ...failure, message: `${name}: ${failure.message}` });
    });
    return inA.map((failure, index) => failure ?? inB[index]);
  }

  async upload(run: Run, digest: PortableDigest, source: RandomAccess, signal?: AbortSignal): Promise<void> {
    await this.#both(({ access }) => access.upload(run, digest, source, signal));
  }

  #next(): ReadThrough {
    return this.#reads++ % 2 === 0
      ? { first: this.#a, second: this.#b, replicator: this.#bToA }
      : { first: this.#b, second: this.#a, replicator: this.#aToB };
  }

  #both<Result>(work: (backend: Named) => Promise<Result>): Promise<[Result, Result]> {
    const named = (backend: Named) =>
      work(backend).catch((error: unknown) => {
        throw ofBackend(backend.name, error);
      });
    return Promise.all([named(this.#a), named(this.#b)]);
  }
}
