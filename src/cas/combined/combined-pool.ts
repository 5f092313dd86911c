import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { asBlobError, BlobError } from "../../reapi/blob-error.ts";
import type { Identity } from "../local/layout.ts";
import type { LocalStore } from "../local/local-store.ts";
import type { TransferPool } from "../transfer/transfer-pool.ts";
import type { TransferContext, TransferResults, TransferTask } from "../transfer/transfer-task.ts";
import type { BlobAccess, Run } from "./blob-access.ts";
import { accessTo, type Combination } from "./combination.ts";

/**
 * A pool that also runs tasks for combinations of backends: those whose `server` is below 0. What they fetch is for the
 * local store with the identity.
 */
export function combinedPool(
  pool: TransferPool,
  combinations: readonly Combination[],
  stores: ReadonlyMap<Combination, LocalStore>,
  storeIdentity: Identity,
): TransferPool {
  if (combinations.length === 0) {
    return pool;
  }
  const accesses = combinations.map((combination) => accessTo(combination, stores, storeIdentity));
  const run = async <T extends TransferTask>(
    task: T,
    context: TransferContext = {},
  ): Promise<TransferResults[T["kind"]]> => {
    if (!("server" in task) || task.server >= 0) {
      return pool.run(task, context);
    }
    try {
      const done = await combined(run, accesses[-1 - task.server]!, task, context);
      return done as TransferResults[T["kind"]];
    } catch (error) {
      context.signal?.throwIfAborted();
      throw asBlobError(error, task.kind);
    }
  };
  return { run, start: () => pool.start(), close: () => pool.close() };
}

async function combined(
  run: Run,
  access: BlobAccess,
  task: TransferTask,
  { signal, source, chunk }: TransferContext,
): Promise<TransferResults[TransferTask["kind"]]> {
  switch (task.kind) {
    case "fetchBlobs":
      return access.fetchBlobs(run, task.digests, { together: task.together, signal });
    case "fetchRange":
      await access.fetchRange(run, task, chunk ?? (() => {}), signal);
      return undefined;
    case "findMissing":
      return access.findMissing(run, task.digests, signal);
    case "uploadBatch":
      return access.uploadBatch(run, task.blobs, signal);
    case "upload":
      await access.upload(run, task.digest, source!, signal);
      return undefined;
    default:
      throw new BlobError(Code.INTERNAL, `${task.kind} is not for a server`);
  }
}
