import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { Digest } from "../../../src/reapi/digest.ts";
import { chunk, type Fixture, fixture, readAll } from "./fixture.ts";

function pathOf(f: Fixture, { hash, sizeBytes }: Digest): string {
  return join(f.directory, "blobs", hash.slice(0, 2), `sha256-${hash}-${sizeBytes}`);
}

async function cachedFiles(f: Fixture): Promise<string[]> {
  const all = await readdir(join(f.directory, "blobs"), { recursive: true, withFileTypes: true });
  return all.filter((entry) => entry.isFile()).map(({ name }) => name);
}

const sizes = [100, chunk - 1, chunk + 1, 3 * chunk];

test("what was fetched survives a restart", async () => {
  await using f = await fixture();
  const contents = sizes.map((size) => randomBytes(size));
  const digests = contents.map((content) => f.storage.add(content));
  for (const digest of digests) {
    await readAll(f.store, digest);
  }
  await f.store.close();
  f.storage.blobs.clear();
  await using again = await f.reopen();
  for (const [index, digest] of digests.entries()) {
    assert.deepEqual(await readAll(again, digest), contents[index]);
  }
  assert.deepEqual(again.statistics().misses, 0);
  assert.equal(again.statistics().diskBlobs, sizes.length);
});

for (const [what, damage] of Object.entries({
  "has other content": (path: string, size: number) => writeFile(path, randomBytes(size)),
  "is cut short": (path: string) => truncate(path, 10),
  "is empty": (path: string) => truncate(path, 0),
  "is gone": (path: string) => rm(path),
})) {
  test(`a file of an earlier run that ${what} is fetched anew`, async () => {
    await using f = await fixture();
    const contents = sizes.map((size) => randomBytes(size));
    const digests = contents.map((content) => f.storage.add(content));
    for (const digest of digests) {
      await readAll(f.store, digest);
    }
    await f.store.close();
    for (const digest of digests) {
      await damage(pathOf(f, digest), digest.sizeBytes);
    }
    await using again = await f.reopen();
    for (const [index, digest] of digests.entries()) {
      assert.deepEqual(await readAll(again, digest), contents[index]);
    }
  });
}

test("a file that is cut short under a running store is fetched anew", async () => {
  await using f = await fixture({ memoryCacheSizeBytes: 1 });
  const content = randomBytes(3 * chunk);
  const digest = f.storage.add(content);
  await readAll(f.store, digest);
  await truncate(pathOf(f, digest), chunk);
  assert.deepEqual(await readAll(f.store, digest), content);
  assert.deepEqual(await readFile(pathOf(f, digest)), content);
});

test("temporary files and strange names of an earlier run are no blobs", async () => {
  await using f = await fixture();
  await f.store.close();
  await mkdir(join(f.directory, "partial"), { recursive: true });
  await writeFile(join(f.directory, "partial", "1"), "left over");
  await writeFile(join(f.directory, "blobs", "00", "README"), "?");
  await writeFile(join(f.directory, "blobs", "00", `sha256-${"f".repeat(64)}-3`), "abc");
  await using again = await f.reopen();
  assert.equal(again.statistics().diskBlobs, 0);
  assert.deepEqual(await readdir(join(f.directory, "partial")), []);
});

test("the least recently used files go when there are too many bytes", async () => {
  await using f = await fixture({ memoryCacheSizeBytes: 1 });
  await f.store.close();
  await using store = await f.reopen({
    diskCache: { directory: f.directory, maximumSizeBytes: 10_000, maximumCount: 1e6 },
  });
  const digests = Array.from({ length: 10 }, () => f.storage.add(randomBytes(1000)));
  for (const digest of digests) {
    await store.prefetch(digest);
  }
  await store.read(digests[0]!, 0, 1);
  await store.prefetch(f.storage.add(randomBytes(1500)));
  assert.ok(store.statistics().diskBytes <= 10_000);
  const fetched = f.storage.reads.length;
  await store.read(digests[0]!, 0, 1);
  assert.equal(f.storage.reads.length, fetched);
  await store.read(digests[1]!, 0, 1);
  assert.equal(f.storage.reads.length, fetched + 1);
});

test("the order of use survives a restart; the count is bounded, too", async () => {
  await using f = await fixture();
  const digests = Array.from({ length: 20 }, (_, index) => f.storage.add(`blob ${index}`));
  for (const digest of digests) {
    await f.store.prefetch(digest);
  }
  await f.store.close();
  await using again = await f.reopen({
    diskCache: { directory: f.directory, maximumSizeBytes: 1e9, maximumCount: 5 },
  });
  assert.equal(again.statistics().diskBlobs, 5);
  f.storage.blobs.clear();
  for (const digest of digests.slice(-5)) {
    assert.equal((await again.read(digest, 0, 1)).length, 1);
  }
});

test("evicted files are removed, and reads of them go on", async () => {
  await using f = await fixture({ memoryCacheSizeBytes: 1 });
  await f.store.close();
  await using store = await f.reopen({
    diskCache: { directory: f.directory, maximumSizeBytes: 4 * chunk, maximumCount: 1e6 },
  });
  const contents = Array.from({ length: 6 }, () => randomBytes(3 * chunk));
  const digests = contents.map((content) => f.storage.add(content));
  for (let round = 0; round < 2; round++) {
    const all = await Promise.all(digests.map((digest) => readAll(store, digest)));
    assert.deepEqual(all, contents);
  }
  await store.close();
  assert.ok((await cachedFiles(f)).length <= 1);
});

test("one blob may be larger than the cache", async () => {
  await using f = await fixture();
  await f.store.close();
  await using store = await f.reopen({
    diskCache: { directory: f.directory, maximumSizeBytes: 1000, maximumCount: 1e6 },
  });
  const content = randomBytes(5 * chunk);
  assert.deepEqual(await readAll(store, f.storage.add(content)), content);
});

test("a directory that another living process uses is refused; a dead one's is taken over", async () => {
  await using f = await fixture();
  await f.store.close();
  const owner = join(f.directory, "owner");
  const parent = await readFile(`/proc/${process.ppid}/stat`, "latin1");
  const startTime = parent.slice(parent.lastIndexOf(")") + 2).split(" ")[19];
  await writeFile(owner, `${process.ppid} ${startTime}`);
  await assert.rejects(f.reopen(), new RegExp(`in use by process ${process.ppid}`));
  await writeFile(owner, `${process.ppid} 1`);
  await (await f.reopen()).close();
});
