import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { ActionResultSchema } from "../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { computeDigest, SHA256 } from "../../../src/reapi/digest.ts";
import { digestOf } from "./fake-storage.ts";
import { blobError, fixture } from "./fixture.ts";

const large = 3 * 1024 * 1024 + 5;

/** As a file is read: not all at once. */
function source(content: Uint8Array) {
  return {
    sizeBytes: content.length,
    read: async (offset: number, count: number) =>
      content.subarray(offset, offset + Math.min(count, 100_000)),
  };
}

for (const transferThreads of [0, 1]) {
  for (const size of [0, 10, 64 * 1024, 64 * 1024 + 1, large]) {
    test(`${size} bytes reach storage; ${transferThreads} threads`, async () => {
      await using f = await fixture({ transferThreads });
      const content = randomBytes(size);
      assert.deepEqual(await f.client.hashAndUpload("", SHA256, content), digestOf(content));
      const other = randomBytes(size);
      assert.deepEqual(await f.client.hashAndUpload("", SHA256, source(other)), digestOf(other));
      for (const each of [content, other]) {
        assert.deepEqual(Buffer.from(f.storage.blobs.get(digestOf(each).hash)!), each);
      }
    });
  }
}

test("what storage has is not sent", async () => {
  await using f = await fixture();
  for (const size of [10, large]) {
    const content = randomBytes(size);
    f.storage.add(content);
    await f.client.hashAndUpload("", SHA256, content);
  }
  assert.equal(f.storage.callCount("Write") + f.storage.callCount("BatchUpdateBlobs"), 0);
  assert.equal(f.client.statistics().uploadsSpared, 2);
  assert.equal(f.client.statistics().bytesUploadSpared, 10 + large);
});

test("what is new is sent without asking for it", async () => {
  await using f = await fixture();
  for (const size of [10, large]) {
    const content = randomBytes(size);
    await f.client.uploadNew(computeDigest("", SHA256, content), content);
  }
  assert.equal(f.storage.callCount("FindMissingBlobs"), 0);
  assert.equal(f.storage.blobs.size, 2);
});

test("many small ones share messages; several of the same are one", async () => {
  await using f = await fixture({ storage: { maximumBatchBytes: 100_000 } });
  const contents = Array.from({ length: 100 }, () => randomBytes(2000));
  await Promise.all([...contents, ...contents].map((content) => f.client.hashAndUpload("", SHA256, content)));
  assert.equal(f.storage.callCount("FindMissingBlobs"), 1);
  assert.equal(f.storage.callCount("BatchUpdateBlobs"), 3);
  assert.equal(f.client.statistics().blobsUploaded, 100);
  assert.equal(f.storage.blobs.size, 100);
});

test("a broken upload goes on from what storage has", async () => {
  await using f = await fixture();
  const content = randomBytes(large);
  const digest = digestOf(content);
  f.storage.breakWrites.set(digest.hash, [1_000_000, 2_000_000]);
  await f.client.upload(digest, content);
  assert.deepEqual(f.storage.writeOffsets, [0, 1_000_000, 2_000_000]);
  assert.deepEqual(Buffer.from(f.storage.blobs.get(digest.hash)!), content);
});

test("uploads are compressed if that is offered and pays", async () => {
  await using f = await fixture({ storage: { zstd: true }, compression: true });
  const text = Buffer.alloc(large, "some text ");
  await f.client.hashAndUpload("", SHA256, text);
  assert.equal(f.storage.compressedWrites, 1);
  await f.client.hashAndUpload("", SHA256, randomBytes(large));
  assert.equal(f.storage.compressedWrites, 1);
  await f.client.hashAndUpload("", SHA256, Buffer.alloc(5000, "x"));
  assert.equal(f.storage.compressedWrites, 2);
  assert.equal(f.storage.blobs.size, 3);
});

test("a compressed upload that breaks begins anew", async () => {
  await using f = await fixture({ storage: { zstd: true }, compression: true });
  const content = Buffer.alloc(large, randomBytes(1_000_000).toString("hex"));
  const digest = digestOf(content);
  f.storage.breakWrites.set(digest.hash, [100_000]);
  await f.client.upload(digest, content);
  assert.deepEqual(f.storage.writeOffsets, [0, 0]);
  assert.deepEqual(Buffer.from(f.storage.blobs.get(digest.hash)!), content);
});

test("content that does not match its digest is refused by storage, and that is reported", async () => {
  await using f = await fixture();
  for (const size of [10, large]) {
    const digest = digestOf(randomBytes(size));
    await assert.rejects(
      f.client.upload(digest, randomBytes(size)),
      blobError(Code.INVALID_ARGUMENT, new RegExp(digest.hash)),
    );
  }
});

test("a source that cannot be read, or ends early, fails the upload and not the next one", async () => {
  await using f = await fixture({ transferThreads: 1 });
  const content = randomBytes(large);
  const digest = digestOf(content);
  const broken = {
    sizeBytes: large,
    read(): Uint8Array {
      throw new Error("no such sector");
    },
  };
  await assert.rejects(f.client.upload(digest, broken), /no such sector/);
  await assert.rejects(f.client.upload(digest, source(content.subarray(0, 1000))), /ends at 1000/);
  await f.client.upload(digest, content);
  assert.ok(f.storage.blobs.has(digest.hash));
});

/** A source that tells when it is read, and is not read from before its gate opens. */
function gatedSource(content: Uint8Array) {
  const gate = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  return {
    gate,
    asked,
    sizeBytes: content.length,
    async read(offset: number, count: number) {
      asked.resolve();
      await gate.promise;
      return content.subarray(offset, offset + count);
    },
  };
}

for (const transferThreads of [0, 1]) {
  test(`a cancelled upload ends at once, and others' of the same blob goes on; ${transferThreads} threads`, async () => {
    await using f = await fixture({ transferThreads });
    const content = randomBytes(large);
    const digest = digestOf(content);
    const { gate, asked, ...slow } = gatedSource(content);
    const cancel = new AbortController();
    const cancelled = f.client.upload(digest, slow, cancel.signal);
    const other = f.client.upload(digest, slow);
    await asked.promise;
    cancel.abort(new Error("cancelled"));
    await assert.rejects(cancelled, /cancelled/);
    gate.resolve();
    await other;
    assert.ok(f.storage.blobs.has(digest.hash));
  });

  test(`when all callers have cancelled, the transfer ends; ${transferThreads} threads`, async () => {
    await using f = await fixture({ transferThreads });
    const content = randomBytes(large);
    const digest = digestOf(content);
    const { gate, asked, ...never } = gatedSource(content);
    const cancel = new AbortController();
    const cancelled = f.client.upload(digest, never, cancel.signal);
    await asked.promise;
    cancel.abort(new Error("cancelled"));
    await assert.rejects(cancelled, /cancelled/);
    await f.client.upload(digest, content);
    assert.ok(f.storage.blobs.has(digest.hash));
    gate.resolve();
  });
}

test("action results are stored", async () => {
  await using f = await fixture();
  const action = digestOf("action");
  await f.client.updateActionResult(action, create(ActionResultSchema, { exitCode: 7 }));
  assert.equal(f.storage.actionResults.get(action.hash)?.exitCode, 7);
});

test("a caller whose content is fine does not fail for another's that is not", async () => {
  await using f = await fixture();
  const content = randomBytes(large);
  const digest = digestOf(content);
  const unreadable = {
    sizeBytes: large,
    async read(): Promise<Uint8Array> {
      throw new Error("gone");
    },
  };
  const first = f.client.upload(digest, unreadable);
  const second = f.client.upload(digest, content);
  await assert.rejects(first, /gone/);
  await second;
  assert.ok(f.storage.blobs.has(digest.hash));
});
