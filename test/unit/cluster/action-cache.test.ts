import assert from "node:assert/strict";
import { readdir, truncate } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  DirectorySchema,
  TreeSchema,
} from "../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import type { Digest } from "../../../src/reapi/digest.ts";
import { digestMessage } from "../../../src/reapi/wire-digest.ts";
import { startTestCluster, type TestCluster } from "./harness.ts";

const isMiss = { code: Code.NOT_FOUND };

/** A result with an output of every kind, and the digests of all blobs it needs. */
async function putResult({ server: { storage } }: TestCluster) {
  const put = async (content: string) => storage.putBlob(Buffer.from(content));
  const file = await put("file");
  const stdout = await put("stdout");
  const inTree = await put("in tree");
  const inDirectory = await put("in directory");
  const child = create(DirectorySchema, { files: [{ name: "f", digest: digestMessage(inDirectory) }] });
  const childDigest = await storage.putBlob(toBinary(DirectorySchema, child));
  const rootDigest = await storage.putBlob(
    toBinary(
      DirectorySchema,
      create(DirectorySchema, { directories: [{ name: "d", digest: digestMessage(childDigest) }] }),
    ),
  );
  const treeDigest = await storage.putBlob(
    toBinary(
      TreeSchema,
      create(TreeSchema, {
        root: {},
        children: [{ files: [{ name: "f", digest: digestMessage(inTree) }] }],
      }),
    ),
  );
  const result = {
    outputFiles: [{ path: "out", digest: digestMessage(file) }],
    stdoutDigest: digestMessage(stdout),
    outputDirectories: [
      { path: "tree", treeDigest: digestMessage(treeDigest) },
      { path: "directory", rootDirectoryDigest: digestMessage(rootDigest) },
    ],
  };
  const needed: Record<string, Digest> = {
    file,
    stdout,
    inTree,
    inDirectory,
    childDigest,
    rootDigest,
    treeDigest,
  };
  return { result, needed };
}

test("a result is found under its action and instance", async () => {
  await using cluster = await startTestCluster();
  const { result } = await putResult(cluster);
  const actionDigest = digestMessage(await cluster.server.storage.putBlob(Buffer.from("action")));
  await assert.rejects(cluster.actionCache.getActionResult({ actionDigest }), isMiss);
  await cluster.actionCache.updateActionResult({ actionDigest, actionResult: result });
  const found = await cluster.actionCache.getActionResult({ actionDigest });
  assert.equal(found.outputFiles[0]?.path, "out");
  await assert.rejects(cluster.actionCache.getActionResult({ instanceName: "other", actionDigest }), isMiss);
});

test("a result of which any blob is gone is a miss", async () => {
  await using cluster = await startTestCluster();
  const { storage } = cluster.server;
  const actionDigest = await storage.putBlob(Buffer.from("action"));
  const { result, needed } = await putResult(cluster);
  await cluster.actionCache.updateActionResult({
    actionDigest: digestMessage(actionDigest),
    actionResult: result,
  });
  for (const [what, digest] of Object.entries(needed)) {
    const content = await storage.blobs.read(digest);
    assert.ok(await storage.actionCache.get(actionDigest), `before ${what} is gone`);
    await storage.blobs.delete(digest);
    assert.equal(await storage.actionCache.get(actionDigest), undefined, what);
    await storage.putBlob(content);
  }
});

test("a result whose file was cut short is a miss", async () => {
  await using cluster = await startTestCluster();
  const { storage } = cluster.server;
  const actionDigest = await storage.putBlob(Buffer.from("action"));
  await cluster.actionCache.updateActionResult({
    actionDigest: digestMessage(actionDigest),
    actionResult: { exitCode: 3 },
  });
  const folder = join(cluster.folder, "data/ac");
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) =>
    entry.isFile(),
  );
  assert.equal(files.length, 1);
  const path = join(files[0]!.parentPath, files[0]!.name);
  for (const size of [33, 32, 0]) {
    await truncate(path, size);
    assert.equal(await storage.actionCache.get(actionDigest), undefined, `${size} bytes`);
  }
});
