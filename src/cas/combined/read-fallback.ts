import type { PortableDigest } from "../transfer/portable.ts";
import type { Fetched } from "../transfer/transfer-task.ts";
import {
  type BlobAccess,
  type FetchOptions,
  ofBackend,
  type RangeTask,
  type Run,
  type TakeChunk,
  without,
} from "./blob-access.ts";
import { Forwarding } from "./forwarding.ts";
import { fetchRangeThrough, fetchThrough, type ReadThrough, replicateExisting } from "./read-through.ts";
import type { Replicator } from "./replicator.ts";

/** What backends that read through one another share: all else is asked of the one that is written to. */
abstract class ReadingThrough extends Forwarding {
  readonly #through: ReadThrough;

  constructor(through: ReadThrough, written: BlobAccess) {
    super(written);
    this.#through = through;
  }

  override fetchBlobs(
    run: Run,
    digests: readonly PortableDigest[],
    options: FetchOptions,
  ): Promise<readonly Fetched[]> {
    return fetchThrough(this.#through, run, digests, options);
  }

  override fetchRange(run: Run, task: RangeTask, chunk: TakeChunk, signal?: AbortSignal): Promise<void> {
    return fetchRangeThrough(this.#through, run, task, chunk, signal);
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

  override async findMissing(
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

/** Buildbarn's `readCaching`: what is read from the slow backend, which has everything, is kept in the fast one. */
export class ReadCaching extends ReadingThrough {
  constructor(slow: BlobAccess, fast: BlobAccess, replicator: Replicator) {
    super({ first: { name: "", access: fast }, second: { name: "", access: slow }, replicator }, slow);
  }
}
