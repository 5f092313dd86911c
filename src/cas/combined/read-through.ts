import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { asBlobError, BlobError } from "../../reapi/blob-error.ts";
import { asFrame, contentOf } from "../local/layout.ts";
import type { PortableDigest } from "../transfer/portable.ts";
import type { Fetched } from "../transfer/transfer-task.ts";
import {
  type BlobAccess,
  type FetchOptions,
  isError,
  isNotFound,
  ofBackend,
  portable,
  type RangeTask,
  type Run,
  type TakeChunk,
} from "./blob-access.ts";
import type { Replica, Replicator } from "./replicator.ts";

/** A backend, and its name in messages. */
export interface Named {
  readonly name: string;
  readonly access: BlobAccess;
}

/** Two backends of which the second is read from where the first lacks a blob, which is then copied to the first. */
export interface ReadThrough {
  readonly first: Named;
  readonly second: Named;
  readonly replicator: Replicator;
}

/** A blob that the first lacks has arrived once it has been copied, too; if that fails, so does its fetch. */
export async function fetchThrough(
  { first, second, replicator }: ReadThrough,
  run: Run,
  digests: readonly PortableDigest[],
  options: FetchOptions,
): Promise<readonly Fetched[]> {
  const early = await first.access.fetchBlobs(run, digests, options);
  const fetched = early.map((each) => named(first, each));
  const lacking = [...early.keys()].filter((index) => isNotFound(early[index]!));
  if (lacking.length === 0) {
    return fetched;
  }
  const wanted = lacking.map((index) => digests[index]!);
  const late = await second.access.fetchBlobs(run, wanted, options);
  const replicas: Replica[] = [];
  for (const [position, each] of late.entries()) {
    const digest = wanted[position]!;
    fetched[lacking[position]!] = named(second, each);
    if (!isError(each)) {
      replicas.push({ digest, content: contentOf(asFrame(each), digest.sizeBytes) });
    }
  }
  const failure = await replicator.replicate(run, replicas, options.signal).catch(asReplication);
  if (failure !== undefined && replicas.length > 0) {
    for (const index of lacking) {
      fetched[index] = isError(fetched[index]!) ? fetched[index]! : portable(failure, "replication");
    }
  }
  return fetched;
}

/**
 * Part of a blob. The blob is copied to the first backend in the background: a reader need not wait for all of it. If
 * that fails, the next reader finds it missing there again.
 */
export async function fetchRangeThrough(
  { first, second, replicator }: ReadThrough,
  run: Run,
  task: RangeTask,
  chunk: TakeChunk,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await first.access.fetchRange(run, task, chunk, signal);
    return;
  } catch (error) {
    signal?.throwIfAborted();
    if (asBlobError(error, "fetch").code !== Code.NOT_FOUND) {
      throw first.name === "" ? error : ofBackend(first.name, error);
    }
  }
  await second.access.fetchRange(run, task, chunk, signal).catch((error: unknown) => {
    signal?.throwIfAborted();
    throw second.name === "" || asBlobError(error, "fetch").code === Code.NOT_FOUND
      ? error
      : ofBackend(second.name, error);
  });
  replicator.replicate(run, [{ digest: task.digest }]).catch(() => {});
}

/** Copies what another backend has said that it has. */
export async function replicateExisting(
  replicator: Replicator,
  run: Run,
  digests: readonly PortableDigest[],
  source: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (digests.length === 0) {
    return;
  }
  const replicas = digests.map((digest) => ({ digest }));
  await replicator.replicate(run, replicas, signal).catch((error: unknown) => {
    signal?.throwIfAborted();
    const { code, message } = asBlobError(error, "replication");
    throw code === Code.NOT_FOUND
      ? new BlobError(Code.INTERNAL, `${source} has lost what it said it had: ${message}`)
      : new BlobError(code, `copying from ${source}: ${message}`);
  });
}

function asReplication(error: unknown): BlobError {
  return ofBackend("replication", error);
}

function named({ name }: Named, fetched: Fetched): Fetched {
  return name === "" || !isError(fetched) || isNotFound(fetched)
    ? fetched
    : { code: fetched.code, message: `${name}: ${fetched.message}` };
}
