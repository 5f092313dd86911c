import { fromBinary } from "@bufbuild/protobuf";
import { status as Status } from "@grpc/grpc-js";
import {
  type ActionResult,
  type Digest as DigestMessage,
  type Tree,
  TreeSchema,
} from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { BlobError } from "./blob-error.ts";
import { type Digest, makeDigest } from "./digest.ts";

/** What is needed of storage to check a result. */
export interface ResultStorage {
  message(digest: Digest): Promise<Uint8Array>;
  findMissing(digests: readonly Digest[]): Promise<Digest[]>;
}

/**
 * Whether everything that the result refers to is in storage: its files, logs and directories with the files in
 * them. A result whose trees are larger than allowed counts as incomplete.
 *
 * Rejects with BlobError where storage fails, and InvalidDigestError for what is no digest.
 */
export async function isComplete(
  result: ActionResult,
  actionDigest: Digest,
  maximumTotalTreeSizeBytes: number,
  storage: ResultStorage,
): Promise<boolean> {
  const wanted: Digest[] = [];
  const want = (message: DigestMessage | undefined): Digest | undefined => {
    if (message === undefined) {
      return undefined;
    }
    const digest = makeDigest(
      actionDigest.instanceName,
      actionDigest.function,
      message.hash,
      message.sizeBytes,
    );
    wanted.push(digest);
    return digest;
  };
  want(result.stdoutDigest);
  want(result.stderrDigest);
  for (const { digest } of result.outputFiles) {
    want(digest);
  }
  let treeBytes = 0;
  for (const { treeDigest, rootDirectoryDigest } of result.outputDirectories) {
    want(rootDirectoryDigest);
    const digest = want(treeDigest);
    if (digest === undefined) {
      continue;
    }
    treeBytes += digest.sizeBytes;
    if (treeBytes > maximumTotalTreeSizeBytes) {
      return false;
    }
    const tree = await readTree(digest, storage);
    if (tree === undefined) {
      return false;
    }
    for (const directory of [tree.root, ...tree.children]) {
      for (const { digest } of directory?.files ?? []) {
        want(digest);
      }
    }
  }
  return (await storage.findMissing(wanted)).length === 0;
}

async function readTree(digest: Digest, storage: ResultStorage): Promise<Tree | undefined> {
  try {
    return fromBinary(TreeSchema, await storage.message(digest));
  } catch (error) {
    // A tree that is missing, or is none, is no output.
    if (!(error instanceof BlobError) || error.code === Status.NOT_FOUND) {
      return undefined;
    }
    throw error;
  }
}
