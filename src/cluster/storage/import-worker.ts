import { createHash } from "node:crypto";
import { closeSync, mkdirSync, openSync, readSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { SHA256 } from "../../reapi/digest.ts";

/** Files for a thread of the pool to put into a blob store. */
export interface ImportTask {
  /** The store's folder. */
  readonly folder: string;
  /** A path for temporary files that no other task uses. */
  readonly temporaryPath: string;
  readonly hostPaths: readonly string[];
}

export interface ImportedFile {
  readonly hash: string;
  readonly sizeBytes: number;
}

/** One per thread, as each has this module for itself. */
const BUFFER = Buffer.allocUnsafeSlow(1024 * 1024);

/** Copies files into the store and hashes them on the way. Returns their digests in the same order. */
export default function importFiles({ folder, temporaryPath, hostPaths }: ImportTask): ImportedFile[] {
  return hostPaths.map((hostPath) => importFile(folder, temporaryPath, hostPath));
}

function importFile(folder: string, temporaryPath: string, hostPath: string): ImportedFile {
  const hash = createHash(SHA256.name);
  let sizeBytes = 0;
  const source = openSync(hostPath, "r");
  try {
    const copy = openSync(temporaryPath, "w");
    try {
      for (;;) {
        const count = readSync(source, BUFFER);
        if (count === 0) {
          break;
        }
        const chunk = BUFFER.subarray(0, count);
        hash.update(chunk);
        for (let done = 0; done < count; ) {
          done += writeSync(copy, chunk, done);
        }
        sizeBytes += count;
      }
    } finally {
      closeSync(copy);
    }
  } finally {
    closeSync(source);
  }
  const file = { hash: hash.digest("hex"), sizeBytes };
  const path = `${folder}/${SHA256.name}/${file.hash.slice(0, 2)}/${file.hash}-${sizeBytes}`;
  if (statSync(path, { throwIfNoEntry: false })) {
    rmSync(temporaryPath);
  } else {
    mkdirSync(dirname(path), { recursive: true });
    renameSync(temporaryPath, path);
  }
  return file;
}
