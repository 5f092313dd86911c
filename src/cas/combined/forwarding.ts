import type { PortableDigest, PortableError } from "../transfer/portable.ts";
import type { Fetched } from "../transfer/transfer-task.ts";
import type { RandomAccess } from "../transfer/upload-source.ts";
import type { BlobAccess, FetchOptions, RangeTask, Run, SmallUpload, TakeChunk } from "./blob-access.ts";

/** Passes everything on to another; for those that do only part of it in another way. */
export class Forwarding implements BlobAccess {
  readonly #base: BlobAccess;

  constructor(base: BlobAccess) {
    this.#base = base;
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

  findMissing(
    run: Run,
    digests: readonly PortableDigest[],
    signal?: AbortSignal,
  ): Promise<readonly PortableDigest[]> {
    return this.#base.findMissing(run, digests, signal);
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
