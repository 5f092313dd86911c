import { link, mkdir, open, symlink } from "node:fs/promises";
import path from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import type { EmbeddedStorage } from "../../src/cluster/storage/embedded-storage.ts";
import { DirectorySchema } from "../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Digest } from "../../src/reapi/digest.ts";
import { relatedDigest } from "../../src/reapi/wire-digest.ts";

export interface Placement {
  files: number;
  directories: number;
  /** Of files that were not in the cache folder yet, and were written to it. */
  bytesWritten: number;
  milliseconds: number;
}

/**
 * Places a whole input root as a worker without a lazy file system does: each blob is written to `cacheFolder` once,
 * and hard-linked to every place that has it. Blobs are taken from the storage in this process, so that nothing
 * is spent on the network.
 */
export async function placeByHardLinks(
  storage: EmbeddedStorage,
  inputRoot: Digest,
  cacheFolder: string,
  target: string,
  progress: (files: number) => void,
): Promise<Placement> {
  const started = performance.now();
  const placement: Placement = { files: 0, directories: 0, bytesWritten: 0, milliseconds: 0 };
  await mkdir(cacheFolder, { recursive: true });
  const queue: [Digest, string][] = [[inputRoot, target]];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    const [digest, folder] = next;
    await mkdir(folder);
    placement.directories++;
    const directory = fromBinary(DirectorySchema, await storage.blobs.read(digest));
    for (const child of directory.directories) {
      queue.push([relatedDigest(digest, child.digest, "digest of an entry"), path.join(folder, child.name)]);
    }
    for (const child of directory.symlinks) {
      await symlink(child.target, path.join(folder, child.name));
    }
    for (const child of directory.files) {
      const blob = relatedDigest(digest, child.digest, "digest of an entry");
      const cached = path.join(
        cacheFolder,
        `${blob.hash}-${blob.sizeBytes}-${child.isExecutable ? "x" : "r"}`,
      );
      placement.bytesWritten += await writeOnce(storage, blob, cached, child.isExecutable ? 0o555 : 0o444);
      await link(cached, path.join(folder, child.name));
      progress(++placement.files);
    }
  }
  placement.milliseconds = performance.now() - started;
  return placement;
}

/** Gives the bytes written: 0 where the file was there. */
async function writeOnce(
  storage: EmbeddedStorage,
  blob: Digest,
  cached: string,
  mode: number,
): Promise<number> {
  const file = await open(cached, "wx", mode).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "EEXIST") {
      return undefined;
    }
    throw error;
  });
  if (file === undefined) {
    return 0;
  }
  try {
    await file.writeFile(await storage.blobs.read(blob));
  } finally {
    await file.close();
  }
  return blob.sizeBytes;
}
