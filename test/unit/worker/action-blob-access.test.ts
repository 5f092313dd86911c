import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { StorageClient } from "../../../src/cas/storage-client.ts";
import { readAll, sizedSource, type UploadSource } from "../../../src/cas/transfer/upload-source.ts";
import { StatusError } from "../../../src/grpc/status.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { computeDigest, makeDigest, SHA256 } from "../../../src/reapi/digest.ts";
import type { WritableFile } from "../../../src/vfs/index.ts";
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

/** Storage that reads content twice, as the real one does, and takes nothing that is not what its digest says. */
async function hashAndVerify(source: UploadSource, meanwhile: () => unknown) {
  const sized = sizedSource(source);
  const digest = computeDigest("", SHA256, await readAll(sized));
  await meanwhile();
  if (computeDigest("", SHA256, await readAll(sized)).hash !== digest.hash) {
    throw new Error("storage refuses it");
  }
  return digest;
}

const goesOn = (what: RegExp) => (error: unknown) => {
  assert.ok(error instanceof StatusError);
  assert.equal(error.status.code, Code.INVALID_ARGUMENT);
  assert.match(error.message, what);
  return true;
};

test("an output that is removed while it is uploaded is uploaded, and then takes no more room", async () => {
  const { root, build } = await makeFixture({});
  const content = Buffer.alloc(100_000, "x");
  const file = await root.createFile("file", USER, {});
  await file.write(0, content, false);
  const uploader = uploaderOf((source) => hashAndVerify(source, () => root.remove("file")));
  assert.deepEqual(await uploader.uploadFile(file, "file"), computeDigest("", SHA256, content));
  assert.deepEqual([build.quota.fileCount, build.quota.sizeBytes], [0, 0]);
  await assert.rejects(
    uploader.uploadFile(file, "out/file"),
    goesOn(/output "out\/file" was removed before it was uploaded/),
  );
});

test("an output that is changed while it is uploaded is refused, also if storage takes it", async () => {
  const { root } = await makeFixture({ input: "an input" });
  const file = await root.createFile("file", USER, {});
  await file.write(0, Buffer.alloc(100_000, "x"), false);
  const change = () => file.write(50_000, Buffer.from("y"), false);
  const changed = goesOn(/output "file" was changed while it was uploaded/);
  await assert.rejects(
    uploaderOf((source) => hashAndVerify(source, change)).uploadFile(file, "file"),
    changed,
  );
  const torn = uploaderOf(async () => {
    await change();
    return computeDigest("", SHA256, Buffer.from("half of each"));
  });
  await assert.rejects(torn.uploadFile(file, "file"), changed);
});

test("whatever else goes on, the digest of an output is that of what it was at one time", async () => {
  const changes: fc.Arbitrary<(file: WritableFile, remove: () => unknown) => unknown>[] = [
    fc.nat(3000).map((offset) => (file) => file.write(offset, Buffer.from("changed"), false)),
    fc.nat(3000).map((size) => (file) => file.setAttributes({ size })),
    fc.constant((file) => file.setAttributes({ mode: 0o755 })),
    fc.constant((_, remove) => remove()),
  ];
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(8), fc.oneof(...changes))), async (schedule) => {
      const { root } = await makeFixture({});
      const file = await root.createFile("file", USER, {});
      await file.write(0, Buffer.alloc(2000, "x"), false);
      const seen = new Set<string>();
      const note = async () => {
        const content = Buffer.from(await file.read(0, 10_000));
        seen.add(computeDigest("", SHA256, content).hash);
      };
      await note();
      let removed = false;
      const remove = async () => {
        if (!removed) {
          removed = true;
          await root.remove("file");
        }
      };
      let step = 0;
      const goOn = async () => {
        for (const [at, change] of schedule) {
          if (at === step) {
            await Promise.resolve(change(file, remove)).catch(() => {});
            await note();
          }
        }
        step++;
      };
      const uploader = uploaderOf(async (source) => {
        const { sizeBytes, read } = sizedSource(source);
        const piecewise: UploadSource = {
          sizeBytes,
          async read(offset, count) {
            await goOn();
            return read(offset, Math.min(count, 600));
          },
        };
        return hashAndVerify(piecewise, goOn);
      });
      const outcome = await uploader.uploadFile(file, "file").catch((error: unknown) => error);
      if (outcome instanceof Error) {
        assert.ok(outcome instanceof StatusError, String(outcome));
      } else {
        assert.ok(seen.has((outcome as { hash: string }).hash));
      }
    }),
  );
});
