import { CHECK_BYTES } from "../local/layout.ts";
import type { LocalStore } from "../local/local-store.ts";
import type { StoredEntry } from "../local/options.ts";
import { fromPortable, type PortableDigest } from "../transfer/portable.ts";
import type { TransferPool } from "../transfer/transfer-pool.ts";
import type { RandomAccess } from "../transfer/upload-source.ts";
import { verifyHash } from "../transfer/verify.ts";

/**
 * Hashes the contents of entries, one after the other, in a thread: all are chunks of one size but the last. Resolves
 * to their checks, one after the other; undefined if an entry could not be read. Rejects with DATA_LOSS if together they
 * are not what the digest names.
 *
 * The entries must have been found in this tick.
 */
export async function verifyStored(
  store: LocalStore,
  pool: TransferPool,
  digest: PortableDigest,
  entries: readonly StoredEntry[],
  chunkSizeBytes: number,
): Promise<Uint8Array | undefined> {
  const checks = Buffer.alloc(entries.length * CHECK_BYTES);
  for (const [index, entry] of entries.entries()) {
    const check = store.readCheck(entry);
    if (check === undefined) {
      return undefined;
    }
    check.copy(checks, index * CHECK_BYTES);
  }
  const leases = entries.map((entry) => store.lease(entry));
  try {
    if (store.path === undefined) {
      const hash = await pool.run(
        {
          kind: "hash",
          function: digest.function,
          hashLength: digest.hash.length,
          sizeBytes: digest.sizeBytes,
        },
        { source: entriesSource(store, entries) },
      );
      verifyHash(fromPortable(digest), hash);
    } else {
      const pieces = leases.map(({ position }, index) => ({
        position,
        length: entries[index]!.location.contentBytes,
      }));
      await pool.run({ kind: "verifyPieces", digest, path: store.path, chunkSizeBytes, checks, pieces });
    }
    return checks;
  } finally {
    for (const { release } of leases) {
      release();
    }
  }
}

/** The entries as one content. All but the last have the same size. */
function entriesSource(store: LocalStore, entries: readonly StoredEntry[]): RandomAccess {
  const chunkBytes = entries[0]!.location.contentBytes;
  return {
    async read(offset, count) {
      const entry = entries[Math.floor(offset / chunkBytes)]!;
      const start = offset % chunkBytes;
      const end = Math.min(start + count, entry.location.contentBytes);
      return (await store.readPart(entry, start, end - start)) ?? new Uint8Array(0);
    },
  };
}
