import type { Digest } from "./digest.ts";

/** The most that servers accept as the size of one message, unless they are told otherwise. */
const BATCH_BYTES = 4 * 1024 * 1024;
const BATCH_COUNT = 1000;

/**
 * Splits what is to be fetched, in its order, into what is worth asking for together: up to 4 MiB and 1000 blobs. A blob
 * that is larger is a batch of its own.
 */
export function batchesOf<T extends { readonly digest: Digest }>(items: Iterable<T>): T[][] {
  const batches: T[][] = [];
  let room = 0;
  for (const item of items) {
    const batch = batches.at(-1);
    room -= item.digest.sizeBytes;
    if (batch !== undefined && room >= 0 && batch.length < BATCH_COUNT) {
      batch.push(item);
    } else {
      batches.push([item]);
      room = BATCH_BYTES - item.digest.sizeBytes;
    }
  }
  return batches;
}
