import { readFileSync } from "node:fs";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { BlobError } from "../../reapi/blob-error.ts";
import type { Digest } from "../../reapi/digest.ts";
import type { DiskCache, DiskEntry } from "../cache/disk-cache.ts";
import type { StorageStatistics } from "../statistics.ts";
import { toPortable } from "../transfer/portable.ts";
import type { TransferPool } from "../transfer/transfer-pool.ts";
import { verifyContent } from "../transfer/verify.ts";

export interface DiskReaderOptions {
  readonly pool: TransferPool;
  readonly disk: DiskCache;
  readonly statistics: StorageStatistics;
}

/**
 * Reads blobs from the disk cache's files. A file that turns out to be unusable is dropped; the caller then finds
 * the blob elsewhere. Files of an earlier run are hashed before their first use.
 */
export class DiskReader {
  readonly #pool: TransferPool;
  readonly #disk: DiskCache;
  readonly #statistics: StorageStatistics;
  readonly #checks = new Map<string, Promise<void>>();

  constructor({ pool, disk, statistics }: DiskReaderOptions) {
    this.#pool = pool;
    this.#disk = disk;
    this.#statistics = statistics;
  }

  /** A whole blob that is small enough to be read at once; undefined if its file was unusable. */
  readWhole(digest: Digest, entry: DiskEntry): Uint8Array | undefined {
    try {
      const content = readFileSync(this.#disk.pathOf(entry));
      if (!entry.verified) {
        verifyContent(digest, content);
      } else if (content.length !== digest.sizeBytes) {
        throw new Error("cut short");
      }
      entry.verified = true;
      return content;
    } catch (error) {
      this.#drop(entry, error);
      return undefined;
    }
  }

  /** Part of a blob whose file is verified; undefined, at once or later, if the file was unusable. */
  readPart(
    digest: Digest,
    entry: DiskEntry,
    offset: number,
    count: number,
  ): Uint8Array | Promise<Uint8Array | undefined> | undefined {
    const drop = (error: unknown) => this.#drop(entry, error);
    try {
      const content = this.#disk.openFile(entry, digest.sizeBytes).read(offset, count);
      return content instanceof Uint8Array ? content : content.catch(drop);
    } catch (error) {
      return drop(error);
    }
  }

  /** Hashes a file of an earlier run, once. Never rejects: afterwards the file is verified, or gone. */
  verify(digest: Digest, entry: DiskEntry): Promise<void> {
    let check = this.#checks.get(entry.key);
    if (check === undefined) {
      const path = this.#disk.pathOf(entry);
      check = this.#pool
        .run({ kind: "verifyFile", digest: toPortable(digest, ""), path, destination: path })
        .then(
          () => {
            entry.verified = true;
          },
          (error: unknown) => this.#drop(entry, error),
        )
        .finally(() => this.#checks.delete(entry.key));
      this.#checks.set(entry.key, check);
    }
    return check;
  }

  #drop(entry: DiskEntry, error: unknown): undefined {
    if (error instanceof BlobError && error.code === Code.DATA_LOSS) {
      this.#statistics.corruptBlobs++;
    }
    this.#disk.delete(entry.key);
  }
}
