import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { open, readFile, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { StorageClientOptions } from "../../../src/cas/storage-client.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import type { Digest } from "../../../src/reapi/digest.ts";
import { blobError, chunk, type Fixture, fetchBlobs, fixture, localStore, readAll } from "./fixture.ts";
import { storeOptions } from "./local/stores.ts";

/** Blobs that go in batches, alone, and in chunks. */
const sizes = [100, 5000, chunk - 1, chunk + 1, 3 * chunk];

/** Without showing the difference, which for large contents would take minutes to find. */
function assertEqual(actual: Buffer, expected: Buffer): void {
  assert.ok(actual.equals(expected), "another content");
}

/** Without memory, so that all is read from the store. */
const unremembered = { memoryCacheSizeBytes: 1 };

for (const transferThreads of [0, 1]) {
  test(`what was fetched survives a restart; ${transferThreads} threads`, async () => {
    await using f = await fixture({ transferThreads });
    const { contents, digests } = await fetchBlobs(f, sizes);
    await f.client.close();
    f.storage.blobs.clear();
    await using again = await f.reopen();
    for (const [index, digest] of digests.entries()) {
      assertEqual(await readAll(again, digest), contents[index]!);
    }
    assert.equal(again.statistics().misses, 0);
    assert.equal(again.statistics().corruptBlobs, 0);
  });
}

/** Flips a bit in the middle of each of the contents, or of their first chunks. */
async function damage(f: Fixture, contents: readonly Buffer[]): Promise<void> {
  const path = join(f.directory, "blobs");
  const store = await readFile(path);
  await using file = await open(path, "r+");
  for (const content of contents) {
    const start = store.indexOf(content.subarray(0, Math.min(content.length, 64)));
    assert.ok(start > 0);
    const position = start + (content.length >> 3);
    const [byte] = store.subarray(position, position + 1);
    await file.write(Buffer.of(byte! ^ 1), 0, 1, position);
  }
}

test("damage to what an earlier run left is found, and what is damaged is fetched anew", async () => {
  await using f = await fixture();
  await f.client.close();
  await rm(join(f.directory, "blobs"));
  const small = (directory: string) => localStore(directory, 2 ** 24);
  const first = await f.reopen({ localStore: small(f.directory) });
  const contents = sizes.map((size) => randomBytes(size));
  const digests = contents.map((content) => f.storage.add(content));
  for (const digest of digests) {
    await readAll(first, digest);
  }
  await first.close();
  await damage(f, contents);
  await using again = await f.reopen({ localStore: small(f.directory), ...unremembered });
  for (let round = 0; round < 2; round++) {
    for (const [index, digest] of digests.entries()) {
      assertEqual(await readAll(again, digest), contents[index]!);
    }
  }
  assert.equal(again.statistics().corruptBlobs, sizes.length);
  await again.close();
});

test("a store that is cut short under a client that trusts nothing is no harm", async () => {
  await using f = await fixture();
  await f.client.close();
  const trusting = { ...localStore(f.directory, 2 ** 29), trustMilliseconds: 0 };
  await using client = await f.reopen({ localStore: trusting, ...unremembered });
  const contents = sizes.map((size) => randomBytes(size));
  const digests = contents.map((content) => f.storage.add(content));
  for (let round = 0; round < 2; round++) {
    for (const [index, digest] of digests.entries()) {
      assertEqual(await readAll(client, digest), contents[index]!);
    }
    await truncate(join(f.directory, "blobs"), 4096);
  }
  await client.close();
});

test("a store without its index, after a crash, has all that was fetched", async () => {
  await using f = await fixture();
  const { contents, digests } = await fetchBlobs(f, sizes);
  await f.client.close();
  f.storage.blobs.clear();
  await rm(join(f.directory, "state"), { recursive: true });
  await using again = await f.reopen();
  for (const [index, digest] of digests.entries()) {
    assertEqual(await readAll(again, digest), contents[index]!);
  }
});

for (const memoryCacheSizeBytes of [1, 2 ** 25]) {
  test(`a verified large blob answers across its chunks; memory ${memoryCacheSizeBytes}`, async () => {
    await using f = await fixture({ memoryCacheSizeBytes });
    const content = randomBytes(3 * chunk);
    const digest = f.storage.add(content);
    await readAll(f.client, digest);
    for (const [offset, count] of [
      [chunk - 10, 20],
      [0, 2 * chunk],
      [2 * chunk - 1, 2 * chunk],
    ] as const) {
      const part = Buffer.from(await f.client.read(digest, offset, count));
      assertEqual(part, content.subarray(offset, offset + count));
    }
  });
}

test("a large blob that was read in part goes on after a restart, and is hashed when it is complete", async () => {
  await using f = await fixture(unremembered);
  const content = randomBytes(4 * chunk);
  const digest = f.storage.add(content);
  await f.client.read(digest, 0, 10);
  await f.client.read(digest, 2 * chunk, 10);
  await f.client.close();
  await using again = await f.reopen();
  assertEqual(await readAll(again, digest), content);
  assert.equal(f.storage.bytesSent, content.length);
});

test("a large blob whose chunks storage sent wrong, before and after a restart, is dropped as a whole", async () => {
  await using f = await fixture(unremembered);
  const content = randomBytes(3 * chunk);
  const digest = f.storage.add(content);
  f.storage.fail(digest, { kind: "corrupt" });
  await f.client.read(digest, 2 * chunk, 10);
  await f.client.close();
  await using again = await f.reopen();
  await assert.rejects(readAll(again, digest), blobError(Code.DATA_LOSS, new RegExp(digest.hash)));
  assertEqual(await readAll(again, digest), content);
});

/** Turns the ring until nothing of what is there is left. */
async function turnRing(f: Fixture, client: Fixture["client"], bytes: number): Promise<void> {
  for (let turned = 0; turned < bytes; turned += chunk) {
    await readAll(client, f.storage.add(randomBytes(chunk)));
  }
}

const ring = 32 * chunk;
const smallRing = (f: Fixture): Partial<StorageClientOptions> => ({
  localStore: localStore(f.directory, ring),
  ...unremembered,
});

test("blobs that were given up are fetched anew, and are right", async () => {
  await using f = await fixture();
  await f.client.close();
  await rm(join(f.directory, "blobs"));
  await using client = await f.reopen(smallRing(f));
  const contents = [...sizes, 6 * chunk, 7 * chunk].map((size) => randomBytes(size));
  const digests = contents.map((content) => f.storage.add(content));
  for (let round = 0; round < 4; round++) {
    const all = await Promise.all(digests.map((digest) => readAll(client, digest)));
    for (const [index, content] of all.entries()) {
      assertEqual(content, contents[index]!);
    }
    await turnRing(f, client, 2 * ring);
  }
  await client.close();
});

test("a chunk of a verified blob that is given up and comes back different is not believed", async () => {
  await using f = await fixture();
  await f.client.close();
  await rm(join(f.directory, "blobs"));
  await using client = await f.reopen(smallRing(f));
  const content = randomBytes(3 * chunk);
  const digest = f.storage.add(content);
  assertEqual(await readAll(client, digest), content);
  await turnRing(f, client, 3 * ring);
  f.storage.fail(digest, { kind: "corrupt" });
  await assert.rejects(async () => client.read(digest, 2 * chunk, 10), blobError(Code.DATA_LOSS));
  assertEqual(await readAll(client, digest), content);
  await client.close();
});

test("a blob may be larger than the store", async () => {
  await using f = await fixture();
  await f.client.close();
  await rm(join(f.directory, "blobs"));
  await using client = await f.reopen({ ...smallRing(f), maximumMessageSizeBytes: 3 * ring });
  const content = randomBytes(2 * ring);
  const digest = f.storage.add(content);
  assertEqual(await readAll(client, digest), content);
  assertEqual(Buffer.from(await client.message(digest)), content);
  const wrong = f.storage.add(randomBytes(2 * ring));
  f.storage.fail(wrong, ...Array(100).fill({ kind: "corrupt" }));
  await assert.rejects(client.message(wrong), blobError(Code.DATA_LOSS));
  await client.close();
});

test("chunks are smaller where blocks are", async () => {
  await using f = await fixture({ chunkSizeBytes: undefined as never });
  await f.client.close();
  await rm(join(f.directory, "blobs"));
  await using client = await f.reopen({ localStore: localStore(f.directory, 4096 + 7 * 256 * 1024) });
  const content = randomBytes(500_000);
  assertEqual(await readAll(client, f.storage.add(content)), content);
  assert.deepEqual(
    f.storage.reads.map(({ offset }) => offset % (32 * 1024)),
    f.storage.reads.map(() => 0),
  );
  assert.ok(client.statistics().diskBlobs > 1);
  await client.close();
});

test("blocks in memory serve all kinds of blobs", async () => {
  await using f = await fixture({
    localStore: storeOptions("", {
      blocks: { kind: "memory", blockBytes: 4 * chunk },
      persistent: undefined,
      trustMilliseconds: Number.POSITIVE_INFINITY,
    }),
    ...unremembered,
  });
  const { contents, digests } = await fetchBlobs(f, sizes);
  for (const [index, digest] of digests.entries()) {
    assertEqual(await readAll(f.client, digest), contents[index]!);
  }
  assert.equal(
    f.storage.bytesSent,
    sizes.reduce((a, b) => a + b),
  );
});

test("with hierarchical instance names, a blob of one instance is another's only below it", async () => {
  await using f = await fixture();
  await f.client.close();
  const contents = [randomBytes(100), randomBytes(3 * chunk)];
  const client = await f.reopen({
    localStore: { ...localStore(f.directory, 2 ** 29), hierarchicalInstanceNames: true },
  });
  const within = (instanceName: string) =>
    contents.map((content): Digest => ({ ...f.storage.add(content, instanceName), instanceName }));
  for (const [instanceName, sent] of [
    ["a", 1],
    ["a", 1],
    ["a/b", 1],
    ["b", 2],
    ["", 3],
  ] as const) {
    for (const [index, digest] of within(instanceName).entries()) {
      assertEqual(await readAll(client, digest), contents[index]!);
    }
    assert.equal(f.storage.bytesSent, sent * (100 + 3 * chunk), `"${instanceName}"`);
  }
  await client.close();
});
