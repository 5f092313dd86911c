import assert from "node:assert/strict";
import { test } from "node:test";
import type { StorageClient } from "../../../src/cas/storage-client.ts";
import type { UploadSource } from "../../../src/cas/transfer/upload-source.ts";
import { StatusError } from "../../../src/grpc/status.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { computeDigest, makeDigest, SHA256 } from "../../../src/reapi/digest.ts";
import { actionBlobAccess } from "../../../src/worker/action/action-blob-access.ts";
import { makeFixture, USER } from "../vfs/tree-fixture.ts";

const action = makeDigest("", SHA256, "a".repeat(64), 1);
const never = new Promise<never>(() => {});

function uploaderOf(
  hashAndUpload: (source: UploadSource) => Promise<unknown>,
  signal = new AbortController().signal,
) {
  const storage = {
    hashAndUpload: (_name: string, _function: unknown, source: UploadSource) => hashAndUpload(source),
  } as unknown as StorageClient;
  const options = { maximumUploadDelay: Number.POSITIVE_INFINITY, filePoolBytes: () => 1 << 20 };
  return actionBlobAccess(storage, options).outputUploader(action, signal);
}

test("an output that is longer than all storage for outputs is refused before anything of it is read", async () => {
  const { root } = await makeFixture({ input: Buffer.alloc(2 << 20) });
  const hashed: number[] = [];
  const uploader = uploaderOf(async (source) => {
    hashed.push("sizeBytes" in source ? source.sizeBytes : source.length);
    return computeDigest("", SHA256, Buffer.alloc(0));
  });
  const sparse = await root.createFile("sparse", USER, { size: 8 * 2 ** 40 });
  await assert.rejects(uploader.uploadFile(sparse, "out/sparse"), (error: unknown) => {
    assert.ok(error instanceof StatusError);
    assert.equal(error.status.code, Code.INVALID_ARGUMENT);
    assert.match(error.message, /output "out\/sparse" is 8796093022208 bytes long.* 1048576 bytes/);
    return true;
  });
  assert.deepEqual(hashed, []);

  await uploader.uploadFile(await root.createFile("possible", USER, { size: 1 << 20 }), "possible");
  const copy = await root.openForWriting("input", (await root.lookup("input")) as never, false);
  await copy.write(0, Buffer.from("changed"), false);
  await uploader.uploadFile(copy, "input");
  assert.deepEqual(hashed, [1 << 20, 2 << 20], "of a changed input, only the change is the action's own");
});

test("an upload that nobody wants any more ends, whatever it waits for", async () => {
  const { root } = await makeFixture({});
  const file = await root.createFile("file", USER, {});
  const reason = new Error("not wanted");

  const hashing = new AbortController();
  const uploader = uploaderOf(() => {
    hashing.abort(reason);
    return never;
  }, hashing.signal);
  await assert.rejects(uploader.uploadFile(file, "file"), reason);

  const waiting = new AbortController();
  file.retain();
  const waits = uploaderOf(() => never, waiting.signal).uploadFile(file, "file");
  waiting.abort(reason);
  await assert.rejects(waits, reason);
});
