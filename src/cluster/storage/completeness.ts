import { fromBinary } from "@bufbuild/protobuf";
import {
  type ActionResult,
  type Directory,
  DirectorySchema,
  type OutputDirectory,
  TreeSchema,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { BlobError } from "../../reapi/blob-error.ts";
import { type Digest, digestKey } from "../../reapi/digest.ts";
import type { BlobStore } from "./blob-store.ts";
import { relatedDigest, type WireDigest } from "./wire-digest.ts";

/** Whether all blobs that an action's result refers to, directly or through directories, are in the store. */
export async function isComplete(
  blobs: BlobStore,
  actionDigest: Digest,
  result: ActionResult,
): Promise<boolean> {
  const has = (digest: WireDigest | undefined) =>
    blobs.has(relatedDigest(actionDigest, digest, "digest of an output"));
  const hasOptional = (digest: WireDigest | undefined) => digest === undefined || has(digest);
  if (!hasOptional(result.stdoutDigest) || !hasOptional(result.stderrDigest)) {
    return false;
  }
  if (!result.outputFiles.every(({ digest }) => has(digest))) {
    return false;
  }
  try {
    for (const directory of result.outputDirectories) {
      if (!(await isDirectoryComplete(blobs, actionDigest, directory))) {
        return false;
      }
    }
  } catch (error) {
    if (error instanceof BlobError && error.code === Code.NOT_FOUND) {
      return false;
    }
    throw error;
  }
  return true;
}

/** An output directory comes as a Tree, as the digest of its root Directory, or as both. */
async function isDirectoryComplete(
  blobs: BlobStore,
  context: Digest,
  { treeDigest, rootDirectoryDigest }: OutputDirectory,
): Promise<boolean> {
  const hasFiles = (directory: Directory) =>
    directory.files.every((file) => blobs.has(relatedDigest(context, file.digest, "digest of a file")));
  if (treeDigest) {
    const tree = fromBinary(TreeSchema, await blobs.read(relatedDigest(context, treeDigest, "tree_digest")));
    if (tree.root && !hasFiles(tree.root)) {
      return false;
    }
    if (!tree.children.every(hasFiles)) {
      return false;
    }
  }
  if (!rootDirectoryDigest) {
    return true;
  }

  const root = relatedDigest(context, rootDirectoryDigest, "root_directory_digest");
  const queued = new Map([[digestKey(root), root]]);
  for (const digest of queued.values()) {
    const directory = fromBinary(DirectorySchema, await blobs.read(digest));
    if (!hasFiles(directory)) {
      return false;
    }
    for (const child of directory.directories) {
      const childDigest = relatedDigest(context, child.digest, "digest of a directory");
      queued.set(digestKey(childDigest), childDigest);
    }
  }
  return true;
}
