import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { asBlobError, BlobError } from "../../reapi/blob-error.ts";
import type { PortableDigest, PortableError } from "../transfer/portable.ts";
import type { TransferPool } from "../transfer/transfer-pool.ts";
import type { Fetched, TransferContext, TransferTask } from "../transfer/transfer-task.ts";
import type { RandomAccess } from "../transfer/upload-source.ts";

/** Runs tasks for servers and for combinations. */
export type Run = TransferPool["run"];

export type RangeTask = Omit<TransferTask & { kind: "fetchRange" }, "kind" | "server">;

export interface SmallUpload {
  readonly digest: PortableDigest;
  readonly content: Uint8Array;
}

export interface FetchOptions {
  /** In one message. */
  readonly together: boolean;
  readonly signal?: AbortSignal | undefined;
}

export type TakeChunk = NonNullable<TransferContext["chunk"]>;

/**
 * What is asked of storage. Decorators implement it over others of its kind, without knowing what those are. Digests
 * have the instance name that the storage knows them by. Rejects with {@link BlobError}; with the signal's reason once
 * that aborts.
 */
export interface BlobAccess {
  /** Does not reject: each blob has its own error. */
  fetchBlobs(
    run: Run,
    digests: readonly PortableDigest[],
    options: FetchOptions,
  ): Promise<readonly Fetched[]>;
  /** Takes nothing before it rejects with NOT_FOUND. */
  fetchRange(run: Run, task: RangeTask, chunk: TakeChunk, signal?: AbortSignal): Promise<void>;
  /** Those of the digests that it lacks. */
  findMissing(
    run: Run,
    digests: readonly PortableDigest[],
    signal?: AbortSignal,
  ): Promise<readonly PortableDigest[]>;
  /** For each blob: undefined, or why it could not be stored. */
  uploadBatch(
    run: Run,
    blobs: readonly SmallUpload[],
    signal?: AbortSignal,
  ): Promise<readonly (PortableError | undefined)[]>;
  upload(run: Run, digest: PortableDigest, source: RandomAccess, signal?: AbortSignal): Promise<void>;
}

export function isError(fetched: Fetched): fetched is PortableError {
  return !(fetched instanceof Uint8Array);
}

export function isNotFound(fetched: Fetched): boolean {
  return isError(fetched) && fetched.code === Code.NOT_FOUND;
}

export function portable(error: unknown, what: string): PortableError {
  const { code, message } = asBlobError(error, what);
  return { code, message };
}

/** The same failure, saying of which of several backends it is. */
export function ofBackend(name: string, error: unknown): BlobError {
  const { code, message, digest } = asBlobError(error, name);
  return new BlobError(code, message.startsWith(`${name}: `) ? message : `${name}: ${message}`, digest, {
    cause: error,
  });
}

/** Digests, as sets and caches of them know them. */
export function keyOf({ instanceName, function: digestFunction, hash, sizeBytes }: PortableDigest): string {
  return `${digestFunction}-${hash}-${sizeBytes}-${instanceName}`;
}

/** Those of the digests that are not among the others. */
export function without(
  digests: readonly PortableDigest[],
  others: readonly PortableDigest[],
): readonly PortableDigest[] {
  const keys = new Set(others.map(keyOf));
  return digests.filter((digest) => !keys.has(keyOf(digest)));
}
