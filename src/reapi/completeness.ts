import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { fromBinary } from "@bufbuild/protobuf";
import {
  type ActionResult,
  type Directory,
  DirectorySchema,
  type OutputDirectory,
  TreeSchema,
} from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import { BlobError } from "./blob-error.ts";
import { type Digest, digestKey } from "./digest.ts";
import { relatedDigest } from "./wire-digest.ts";

/** Where the blobs of a result should be. */
export interface ResultStorage {
  has(digest: Digest): boolean;
  /** Rejects with BlobError NOT_FOUND for a blob that is not there. */
  read(digest: Digest): Promise<Uint8Array>;
}

/**
 * Whether everything that an action's result refers to is in storage: its logs and files, its trees and
 * directories, and the files in these. Only such a result may be given out (REAPI, GetActionResult). A tree or
 * directory that is no such message counts as missing.
 *
 * Rejects with InvalidDigestError for a result with something that is no digest, and as `storage` does.
 */
export async function isComplete(
  result: ActionResult,
  actionDigest: Digest,
  storage: ResultStorage,
): Promise<boolean> {
  const { stdoutDigest, stderrDigest, outputFiles, outputDirectories } = result;
  const logs = [stdoutDigest, stderrDigest].filter((digest) => digest !== undefined);
  const outputs = [...logs, ...outputFiles.map(({ digest }) => digest)];
  if (!outputs.every((digest) => storage.has(relatedDigest(actionDigest, digest, "digest of an output")))) {
    return false;
  }
  for (const directory of outputDirectories) {
    if (!(await isDirectoryComplete(directory, actionDigest, storage))) {
      return false;
    }
  }
  return true;
}

/** An output directory comes as a Tree, as the digest of its root Directory, or as both. */
async function isDirectoryComplete(
  { treeDigest, rootDirectoryDigest }: OutputDirectory,
  context: Digest,
  storage: ResultStorage,
): Promise<boolean> {
  const hasFiles = ({ files }: Directory) =>
    files.every(({ digest }) => storage.has(relatedDigest(context, digest, "digest of a file")));
  if (treeDigest) {
    const tree = await readMessage(TreeSchema, relatedDigest(context, treeDigest, "tree_digest"), storage);
    if (!tree || (tree.root && !hasFiles(tree.root)) || !tree.children.every(hasFiles)) {
      return false;
    }
  }
  if (!rootDirectoryDigest) {
    return true;
  }
  const root = relatedDigest(context, rootDirectoryDigest, "root_directory_digest");
  // A Map's iteration visits what is added meanwhile: each directory once, even if a lying storage has them in a
  // circle.
  const directories = new Map([[digestKey(root), root]]);
  for (const digest of directories.values()) {
    const directory = await readMessage(DirectorySchema, digest, storage);
    if (!directory || !hasFiles(directory)) {
      return false;
    }
    for (const child of directory.directories) {
      const childDigest = relatedDigest(context, child.digest, "digest of a directory");
      directories.set(digestKey(childDigest), childDigest);
    }
  }
  return true;
}

/** undefined where the blob is missing, or no such message. */
async function readMessage<D extends DescMessage>(
  schema: D,
  digest: Digest,
  storage: ResultStorage,
): Promise<MessageShape<D> | undefined> {
  let message: Uint8Array;
  try {
    message = await storage.read(digest);
  } catch (error) {
    if (error instanceof BlobError && error.code === Code.NOT_FOUND) {
      return undefined;
    }
    throw error;
  }
  try {
    return fromBinary(schema, message);
  } catch {
    return undefined;
  }
}
