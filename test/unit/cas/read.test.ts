import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { DirectorySchema } from "../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { digestOf } from "./fake-storage.ts";
import { blobError, chunk, fixture, readAll } from "./fixture.ts";

test("a small blob is fetched once and then answered at once, from memory", async () => {
  await using f = await fixture();
  const digest = f.storage.add("hello");
  const first = f.client.read(digest, 1, 3);
  assert.ok(first instanceof Promise);
  assert.equal(Buffer.from(await first).toString(), "ell");
  const second = f.client.read(digest, 0, 100);
  assert.ok(second instanceof Uint8Array);
  assert.equal(Buffer.from(second).toString(), "hello");
  assert.equal((f.client.read(digest, 5, 1) as Uint8Array).length, 0);
  assert.equal(f.storage.reads.length, 1);
});

test("a blob in memory keeps nothing there of those that came together with it", async () => {
  await using f = await fixture();
  const digests = Array.from({ length: 20 }, () => f.storage.add(randomBytes(10_000)));
  await Promise.all(digests.map((digest) => f.client.read(digest, 0, 1)));
  assert.equal(f.storage.calls.get("BatchReadBlobs"), 1);
  for (const digest of digests) {
    const { buffer } = f.client.read(digest, 0, 10_000) as Uint8Array;
    assert.ok(buffer.byteLength < 11_000, `${buffer.byteLength}`);
  }
});

test("the empty blob needs no storage", async () => {
  await using f = await fixture();
  const digest = digestOf("");
  assert.equal((f.client.read(digest, 0, 10) as Uint8Array).length, 0);
  assert.equal((await f.client.message(digest)).length, 0);
  assert.deepEqual(await f.client.directory(digest), { files: [], directories: [], symlinks: [] });
  assert.equal(f.storage.calls.size, 0);
});

test("as many decoded directories are kept as the configuration says, the last used ones", async () => {
  await using f = await fixture({ directoryCache: { maximumCount: 2, maximumSizeBytes: 1e9 } });
  const directories = ["a", "b", "c"].map((name) =>
    f.storage.add(
      toBinary(
        DirectorySchema,
        create(DirectorySchema, {
          directories: [{ name, digest: { hash: digestOf("").hash, sizeBytes: 0n } }],
        }),
      ),
    ),
  );
  for (const digest of directories) {
    await f.client.directory(digest);
  }
  const isKept = directories.map((digest) => !(f.client.directory(digest) instanceof Promise));
  assert.deepEqual(isKept, [false, true, true]);
});

test("blobs wanted in one tick share a message; a hundred readers of one cause one fetch", async () => {
  await using f = await fixture();
  const digests = Array.from({ length: 50 }, (_, index) => f.storage.add(`blob ${index}`));
  const reads = digests.flatMap((digest) => [f.client.read(digest, 0, 99), f.client.read(digest, 0, 99)]);
  await Promise.all(reads);
  assert.equal(f.storage.callCount("BatchReadBlobs"), 1);
  assert.equal(f.storage.reads.length, 50);
});

test("batches keep to what the server announces", async () => {
  await using f = await fixture({ storage: { maximumBatchBytes: 4000 } });
  const digests = Array.from({ length: 10 }, () => f.storage.add(randomBytes(1000)));
  await Promise.all(digests.map((digest) => f.client.read(digest, 0, 1)));
  assert.equal(f.storage.callCount("BatchReadBlobs"), 4);
});

test("a server without capabilities is used with what every server can do", async () => {
  await using f = await fixture({ storage: { withoutCapabilities: true }, compression: true });
  const digest = f.storage.add("x".repeat(100_000));
  assert.equal((await readAll(f.client, digest)).length, 100_000);
});

test("several readers of a large blob fetch each chunk once", async () => {
  await using f = await fixture();
  const content = randomBytes(5 * chunk + 17);
  const digest = f.storage.add(content);
  const all = await Promise.all(Array.from({ length: 20 }, () => readAll(f.client, digest)));
  for (const each of all) {
    assert.deepEqual(each, content);
  }
  assert.deepEqual(f.storage.reads.map(({ offset }) => offset / chunk).sort(), [0, 1, 2, 3, 4, 5]);
  assert.equal(f.storage.bytesSent, content.length);
});

test("a large blob that is complete is read from the store, and its last chunk only after all was hashed", async () => {
  await using f = await fixture({ memoryCacheSizeBytes: 1 });
  const content = randomBytes(3 * chunk);
  const digest = f.storage.add(content);
  for (let round = 0; round < 2; round++) {
    assert.deepEqual(await readAll(f.client, digest), content);
  }
  assert.equal(f.storage.bytesSent, content.length);
  // Three chunks, and what says that they are right.
  assert.equal(f.client.statistics().diskBlobs, 4);
});

test("one page of a large blob costs one chunk", async () => {
  await using f = await fixture({ readAheadBytes: 16 * chunk });
  const content = randomBytes(100 * chunk);
  const digest = f.storage.add(content);
  for (const offset of [0, 50 * chunk + 5, 99 * chunk]) {
    assert.deepEqual(
      Buffer.from(await f.client.read(digest, offset, 4096)),
      content.subarray(offset, offset + 4096),
    );
  }
  assert.equal(f.storage.bytesSent, 3 * chunk);
});

for (const refuseLimits of [false, true]) {
  test(`any reads of any blob give its bytes; refuseLimits ${refuseLimits}`, async () => {
    await using f = await fixture({
      readAheadBytes: 4 * chunk,
      memoryCacheSizeBytes: 3 * chunk,
      storage: { refuseLimits, pieceBytes: 10_001 },
    });
    const reads = fc.array(fc.tuple(fc.nat(8 * chunk), fc.integer({ min: 1, max: 2 * chunk })), {
      minLength: 1,
      maxLength: 12,
    });
    await fc.assert(
      fc.asyncProperty(fc.nat(7 * chunk), reads, fc.boolean(), async (size, reads, atOnce) => {
        const content = randomBytes(size + 1);
        const digest = f.storage.add(content);
        const check = async ([offset, count]: [number, number]) => {
          const got = await f.client.read(digest, offset, count);
          assert.ok(got.length > 0 || offset >= content.length);
          assert.deepEqual(
            Buffer.from(got),
            content.subarray(offset, Math.min(offset + got.length, content.length)),
          );
          assert.ok(got.length <= count);
        };
        if (atOnce) {
          await Promise.all(reads.map(check));
        } else {
          for (const read of reads) {
            await check(read);
          }
        }
      }),
      { numRuns: 40 },
    );
  });
}

test("a sequential reader is read ahead for, and still fetches nothing twice", async () => {
  await using f = await fixture({ readAheadBytes: 8 * chunk });
  const content = randomBytes(40 * chunk);
  const digest = f.storage.add(content);
  assert.deepEqual(await readAll(f.client, digest, chunk / 4), content);
  assert.equal(f.storage.bytesSent, content.length);
  assert.ok(f.storage.reads.length < 25, `${f.storage.reads.length} reads for 40 chunks`);
});

test("a missing blob is NOT_FOUND and names itself, small or large; a later read asks again", async () => {
  await using f = await fixture();
  for (const size of [10, chunk, 3 * chunk]) {
    const content = randomBytes(size);
    const digest = digestOf(content);
    await assert.rejects(
      async () => f.client.read(digest, 0, 5),
      (error) => {
        blobError(Code.NOT_FOUND, new RegExp(digest.hash))(error);
        assert.equal((error as { digest?: unknown }).digest, digest);
        return true;
      },
    );
    f.storage.add(content);
    assert.deepEqual(await readAll(f.client, digest), content);
  }
});

test("content that does not match its digest is DATA_LOSS and not kept", async () => {
  await using f = await fixture();
  for (const size of [10, chunk]) {
    const content = randomBytes(size);
    const digest = f.storage.add(content);
    f.storage.fail(digest, { kind: "corrupt" });
    await assert.rejects(
      async () => f.client.read(digest, 0, 5),
      blobError(Code.DATA_LOSS, new RegExp(digest.hash)),
    );
    assert.deepEqual(await readAll(f.client, digest), content);
  }
  assert.equal(f.client.statistics().corruptBlobs, 2);
});

test("a corrupt large blob fails its reader before the end and is dropped", async () => {
  await using f = await fixture();
  const content = randomBytes(4 * chunk);
  const digest = f.storage.add(content);
  f.storage.fail(digest, { kind: "corrupt" }, { kind: "corrupt" }, { kind: "corrupt" }, { kind: "corrupt" });
  await assert.rejects(readAll(f.client, digest), blobError(Code.DATA_LOSS, new RegExp(digest.hash)));
  assert.deepEqual(await readAll(f.client, digest), content);
  assert.equal(f.client.statistics().corruptBlobs, 1);
});

test("too few or too many bytes are DATA_LOSS", async () => {
  await using f = await fixture();
  for (const size of [10, chunk, 3 * chunk]) {
    const digest = f.storage.add(randomBytes(size));
    f.storage.fail(digest, { kind: "short", bytes: 5 });
    await assert.rejects(async () => f.client.read(digest, 0, 9), blobError(Code.DATA_LOSS));
    const lying = { ...f.storage.add(randomBytes(size)), sizeBytes: size - 1 };
    await assert.rejects(async () => f.client.read(lying, size - 2, 9), blobError(Code.DATA_LOSS));
  }
});

test("a broken stream goes on where it broke", async () => {
  await using f = await fixture();
  const content = randomBytes(chunk);
  const digest = f.storage.add(content);
  f.storage.fail(
    digest,
    { kind: "break", bytes: 1000, code: Code.UNAVAILABLE },
    { kind: "break", bytes: 2000, code: Code.UNAVAILABLE },
    { kind: "break", bytes: 3000, code: Code.UNAVAILABLE },
    { kind: "break", bytes: 4000, code: Code.UNAVAILABLE },
  );
  assert.deepEqual(await readAll(f.client, digest), content);
  assert.deepEqual(
    f.storage.reads.map(({ offset }) => offset),
    [0, 1000, 3000, 6000, 10000],
  );
});

test("a storage that stops answering mid-file ends in DEADLINE_EXCEEDED; a later read succeeds", async () => {
  await using f = await fixture({ retryPolicy: { idleTimeoutMilliseconds: 50 } });
  for (const size of [chunk, 2 * chunk]) {
    const content = randomBytes(size);
    const digest = f.storage.add(content);
    const hang = { kind: "hang", bytes: 0 } as const;
    f.storage.fail(digest, { kind: "hang", bytes: 1000 }, hang, hang, hang);
    await assert.rejects(
      async () => f.client.read(digest, 0, 5),
      blobError(Code.DEADLINE_EXCEEDED, /no answer/),
    );
    f.storage.fail(digest);
    assert.deepEqual(await readAll(f.client, digest), content);
  }
});

test("blobs in a batch fail each for itself; the unavailable ones are asked for again", async () => {
  await using f = await fixture();
  const [good, missing, corrupt, shaky, down] = ["a", "b", "c", "d", "e"].map((text) => f.storage.add(text));
  f.storage.fail(missing!, { kind: "missing" });
  f.storage.fail(corrupt!, { kind: "corrupt" });
  f.storage.fail(shaky!, { kind: "break", bytes: 0, code: Code.UNAVAILABLE });
  f.storage.fail(down!, ...Array(9).fill({ kind: "break", bytes: 0, code: Code.UNAVAILABLE }));
  const results = await Promise.allSettled(
    [good!, missing!, corrupt!, shaky!, down!].map((digest) => f.client.read(digest, 0, 1)),
  );
  const codes = results.map((result) => (result.status === "fulfilled" ? Code.OK : result.reason.code));
  assert.deepEqual(codes, [Code.OK, Code.NOT_FOUND, Code.DATA_LOSS, Code.OK, Code.UNAVAILABLE]);
});

for (const size of [2000, chunk, 3 * chunk]) {
  test(`Zstandard is used where it is offered and the blob is whole: ${size} bytes`, async () => {
    await using f = await fixture({ storage: { zstd: true }, compression: true });
    const content = Buffer.alloc(size, "abc");
    const digest = f.storage.add(content);
    assert.deepEqual(await readAll(f.client, digest), content);
    assert.equal(f.storage.reads[0]!.compressed, size <= chunk);
    if (size === chunk) {
      assert.ok(f.storage.bytesSent < 1000);
    }
  });
}

test("a compressed blob that breaks begins anew; one that is corrupt, or a bomb, is DATA_LOSS", async () => {
  await using f = await fixture({ storage: { zstd: true }, compression: true, chunkSizeBytes: 3 * chunk });
  const content = Buffer.alloc(2 * chunk, randomBytes(5000));
  const digest = f.storage.add(content);
  f.storage.fail(digest, { kind: "break", bytes: 100, code: Code.UNAVAILABLE });
  assert.deepEqual(await readAll(f.client, digest), content);
  const other = f.storage.add(Buffer.alloc(2 * chunk, "y"));
  f.storage.fail(other, { kind: "short", bytes: 8 });
  await assert.rejects(async () => f.client.read(other, 0, 1), blobError(Code.DATA_LOSS));
  const bomb = { ...f.storage.add(Buffer.alloc(20 * chunk)), sizeBytes: 2 * chunk };
  await assert.rejects(async () => f.client.read(bomb, 0, 1), blobError(Code.DATA_LOSS));
});

test("message() refuses what is too large for a message, and puts large ones together", async () => {
  await using f = await fixture({ maximumMessageSizeBytes: 3 * chunk });
  const content = randomBytes(3 * chunk);
  assert.deepEqual(Buffer.from(await f.client.message(f.storage.add(content))), content);
  const large = f.storage.add(randomBytes(3 * chunk + 1));
  await assert.rejects(f.client.message(large), blobError(Code.INVALID_ARGUMENT, /larger than/));
});
