import assert from "node:assert/strict";
import { readdir, truncate } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { digestMessage } from "../../../src/reapi/wire-digest.ts";
import { startTestCluster } from "./harness.ts";

const isMiss = { code: Code.NOT_FOUND };

test("a result is found under its action and instance", async () => {
  await using cluster = await startTestCluster();
  const file = digestMessage(await cluster.server.storage.putBlob(Buffer.from("file")));
  const result = { outputFiles: [{ path: "out", digest: file }] };
  const actionDigest = digestMessage(await cluster.server.storage.putBlob(Buffer.from("action")));
  await assert.rejects(cluster.actionCache.getActionResult({ actionDigest }), isMiss);
  await cluster.actionCache.updateActionResult({ actionDigest, actionResult: result });
  const found = await cluster.actionCache.getActionResult({ actionDigest });
  assert.equal(found.outputFiles[0]?.path, "out");
  await assert.rejects(cluster.actionCache.getActionResult({ instanceName: "other", actionDigest }), isMiss);
});

test("a result with an output that is gone is a miss", async () => {
  await using cluster = await startTestCluster();
  const { storage } = cluster.server;
  const actionDigest = await storage.putBlob(Buffer.from("action"));
  const file = await storage.putBlob(Buffer.from("file"));
  await cluster.actionCache.updateActionResult({
    actionDigest: digestMessage(actionDigest),
    actionResult: { outputFiles: [{ path: "out", digest: digestMessage(file) }] },
  });
  assert.ok(await storage.actionCache.get(actionDigest));
  await storage.blobs.delete(file);
  assert.equal(await storage.actionCache.get(actionDigest), undefined);
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
