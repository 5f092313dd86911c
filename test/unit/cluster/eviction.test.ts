import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { DirectorySchema } from "../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { computeDigest, type Digest, SHA256 } from "../../../src/reapi/digest.ts";
import { digestMessage } from "../../../src/reapi/wire-digest.ts";
import { completed, desired, FakeWorker, idle, putAction, startTestCluster } from "./harness.ts";

const KiB = 1024;
const MAXIMUM_BYTES = 400 * KiB;

function blob(name: string, size = 8 * KiB): Buffer {
  return Buffer.alloc(size, `${name} `);
}

const isFull = (error: { code?: number; message: string }) => {
  assert.equal(error.code, Code.RESOURCE_EXHAUSTED, error.message);
  return true;
};

test("a full store gives up what was used longest ago, and no more than it may", async () => {
  await using cluster = await startTestCluster({ maximumBytes: MAXIMUM_BYTES });
  const { storage } = cluster.server;
  const { blobs } = storage;
  const digests: Digest[] = [];
  for (let i = 0; i < 200; i++) {
    digests.push(await storage.putBlob(blob(`${i}`)));
    assert.ok(blobs.has(digests[0]!), `asking is a use: ${i}`);
    assert.ok(blobs.bytes <= MAXIMUM_BYTES, `${blobs.bytes} bytes`);
  }
  const kept = digests.map((digest) => blobs.has(digest));
  assert.equal(kept.lastIndexOf(false), kept.filter((is) => !is).length, "all but the first are in order");
  assert.deepEqual(
    digests.map((digest) => existsSync(blobs.path(digest))),
    kept,
  );
  assert.ok(blobs.bytes > MAXIMUM_BYTES / 2);

  const reopened = await cluster.reopen();
  assert.equal(reopened.storage.blobs.bytes, blobs.bytes);
});

test("a blob larger than the store is refused before it comes", async () => {
  await using cluster = await startTestCluster({ maximumBytes: MAXIMUM_BYTES });
  const { blobs } = cluster.server.storage;
  const digest = await cluster.server.storage.putBlob(blob("small"));
  const huge = { ...digest, hash: "a".repeat(64), sizeBytes: 8 * 2 ** 40 };
  await assert.rejects(blobs.startWrite(huge), isFull);
  assert.ok(blobs.has(digest));

  const half = { ...digest, hash: "b".repeat(64), sizeBytes: 300 * KiB };
  const writer = await blobs.startWrite(half);
  await assert.rejects(blobs.startWrite({ ...half, hash: "c".repeat(64) }), isFull);
  await writer.abort();
  await (await blobs.startWrite({ ...half, hash: "c".repeat(64) })).abort();
});

test("nothing that an action in flight needs goes", async () => {
  await using cluster = await startTestCluster({ maximumBytes: MAXIMUM_BYTES });
  const { storage, queue } = cluster.server;
  const file = await storage.putBlob(blob("input"));
  const put = (directory: Parameters<typeof create<typeof DirectorySchema>>[1]) =>
    storage.putBlob(toBinary(DirectorySchema, create(DirectorySchema, directory)));
  const folder = await put({ files: [{ name: "file", digest: digestMessage(file) }] });
  const root = await put({ directories: [{ name: "folder", digest: digestMessage(folder) }] });
  const action = await putAction(cluster, "x", { inputRootDigest: digestMessage(root), doNotCache: true });

  const worker = new FakeWorker(cluster, "worker");
  await worker.synchronize(idle, { preferBeingIdle: true });
  const execution = cluster.execution.execute({ actionDigest: digestMessage(action) });
  const ended = (async () => {
    for await (const { done } of execution) {
      if (done) {
        return;
      }
    }
  })();
  assert.equal(desired(await worker.synchronize(idle)), action.hash);

  for (let i = 0; i < 200; i++) {
    await storage.putBlob(blob(`other ${i}`));
  }
  for (const needed of [action, root, folder, file]) {
    assert.ok(await storage.blobs.read(needed));
  }
  assert.equal([...queue.actionsInFlight()].length, 1);

  await worker.synchronize(completed(action), { preferBeingIdle: true });
  await ended;
  for (let i = 0; i < 200; i++) {
    await storage.putBlob(blob(`later ${i}`));
  }
  assert.equal(storage.blobs.has(file), false, "then it goes as all others");
});

test("when all of a full store is needed, an upload is refused", async () => {
  await using cluster = await startTestCluster({ maximumBytes: MAXIMUM_BYTES });
  const { storage } = cluster.server;
  const digests = [];
  for (let i = 0; i < 50; i++) {
    digests.push(await storage.putBlob(blob(`${i}`)));
  }
  const keys = new Set(digests.map(({ hash, sizeBytes }) => `sha256-${hash}-${sizeBytes}`));
  storage.blobs.needed = () => ({ keys: async () => keys });
  const other = blob("other");
  const otherDigest = computeDigest("", SHA256, other);
  await assert.rejects(storage.blobs.put(otherDigest, other), isFull);
  assert.ok(digests.every((digest) => storage.blobs.has(digest)));
  keys.delete(keys.values().next().value!);
  await storage.blobs.put(otherDigest, other);
  assert.ok(storage.blobs.has(otherDigest));
});
