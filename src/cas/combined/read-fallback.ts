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
import { fetchRangeThrough, fetchThrough, type ReadThrough, replicateExisting } from "./read-through.ts";
import type { Replicator } from "./replicator.ts";

/** What backends that read through one another share: all that is stored goes to one of them. */
abstract class ReadingThrough implements BlobAccess {
  readonly #through: ReadThrough;
  readonly #written: BlobAccess;

  constructor(through: ReadThrough, written: BlobAccess) {
    this.#through = through;
    this.#written = written;
  }

  fetchBlobs(
    run: Run,
    digests: readonly PortableDigest[],
    options: FetchOptions,
  ): Promise<readonly Fetched[]> {
    return fetchThrough(this.#through, run, digests, options);
  }

  fetchRange(run: Run, task: RangeTask, chunk: TakeChunk, signal?: AbortSignal): Promise<void> {
    return fetchRangeThrough(this.#through, run, task, chunk, signal);
  }

  abstract findMissing(
    run: Run,
    digests: readonly PortableDigest[],
    signal?: AbortSignal,
  ): Promise<readonly PortableDigest[]>;

  uploadBatch(
    run: Run,
    blobs: readonly SmallUpload[],
    signal?: AbortSignal,
  ): Promise<readonly (PortableError | undefined)[]> {
    return this.#written.uploadBatch(run, blobs, signal);
  }

  upload(run: Run, digest: PortableDigest, source: RandomAccess, signal?: AbortSignal): Promise<void> {
    return this.#written.upload(run, digest, source, signal);
  }
}

/** Buildbarn's `readFallback`: what the primary lacks is read from the secondary. */
export class ReadFallback extends ReadingThrough {
  readonly #primary: BlobAccess;
  readonly #secondary: BlobAccess;
  readonly #replicator: Replicator;

  constructor(primary: BlobAccess, secondary: BlobAccess, replicator: Replicator) {
    const through = {
      first: { name: "primary", access: primary },
      second: { name: "secondary", access: secondary },
      replicator,
    };
    super(through, primary);
    this.#primary = primary;
    this.#secondary = secondary;
    this.#replicator = replicator;
  }

  async findMissing(
    run: Run,
    digests: readonly PortableDigest[],
    signal?: AbortSignal,
  ): Promise<readonly PortableDigest[]> {
    const missing = await this.#primary.findMissing(run, digests, signal).catch((error: unknown) => {
      throw ofBackend("primary", error);
    });
    if (missing.length === 0) {
      return [];
    }
    const missingInBoth = await this.#secondary.findMissing(run, missing, signal).catch((error: unknown) => {
      throw ofBackend("secondary", error);
    });
    await replicateExisting(this.#replicator, run, without(missing, missingInBoth), "secondary", signal);
    return missingInBoth;
  }
}

/** Buildbarn's `readCaching`: what is read from the slow backend is kept in the fast one. */
export class ReadCaching extends ReadingThrough {
  readonly #slow: BlobAccess;

  constructor(slow: BlobAccess, fast: BlobAccess, replicator: Replicator) {
    super({ first: { name: "", access: fast }, second: { name: "", access: slow }, replicator }, slow);
    this.#slow = slow;
  }

  findMissing(
    run: Run,
    digests: readonly PortableDigest[],
    signal?: AbortSignal,
  ): Promise<readonly PortableDigest[]> {
    return this.#slow.findMissing(run, digests, signal);
  }
}
