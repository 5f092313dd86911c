import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { asBlobError, BlobError } from "../../reapi/blob-error.ts";
import type { PortableDigest } from "../transfer/portable.ts";
import type { Destined, Fetched } from "../transfer/transfer-task.ts";
import {
  type BlobAccess,
  type Fetching,
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
export function fetchThrough(
  { first, second, replicator }: ReadThrough,
  run: Run,
  blobs: readonly Destined[],
  options: FetchOptions,
): Fetching {
  const tried = first.access.fetchBlobs(run, blobs, options);
  const whole = tried.fetched.then(async (early) => {
    const fetched = early.map((each) => named(first, each));
    const lacking = [...early.keys()].filter((index) => isNotFound(early[index]!));
    if (lacking.length === 0) {
      return { fetched, stored: tried.stored };
    }
    const late = second.access.fetchBlobs(
      run,
      lacking.map((index) => blobs[index]!),
      options,
    );
    const found = (await late.fetched).map((each) => named(second, each));
    const replicas: Replica[] = [];
    for (const [position, content] of found.entries()) {
      const index = lacking[position]!;
      fetched[index] = content;
      if (!isError(content)) {
        replicas.push({ digest: blobs[index]!.digest, content });
      }
    }
    const failure = await replicator.replicate(run, replicas, options.signal).catch(asReplication);
    if (failure !== undefined && replicas.length > 0) {
      for (const index of lacking) {
        fetched[index] = isError(fetched[index]!) ? fetched[index]! : portable(failure, "replication");
      }
    }
    const stored = Promise.all([tried.stored, late.stored]).then(([early, late]) =>
      early.map((isStored, index) => isStored || (late[lacking.indexOf(index)] ?? false)),
    );
    return { fetched, stored };
  });
  return { fetched: whole.then(({ fetched }) => fetched), stored: whole.then(({ stored }) => stored) };
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
