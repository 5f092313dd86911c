import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { DiskCache } from "../../../src/cas/cache/disk-cache.ts";
import { type Digest, digestKey } from "../../../src/reapi/digest.ts";
import { digestOf } from "./fake-storage.ts";
import { chunk, type Fixture, fetchBlobs, fixture, readAll } from "./fixture.ts";

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
  const { contents, digests } = await fetchBlobs(f, sizes);
  await f.client.close();
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
    const { contents, digests } = await fetchBlobs(f, sizes);
    await f.client.close();
    for (const digest of digests) {
      await damage(pathOf(f, digest), digest.sizeBytes);
    }
    await using again = await f.reopen();
    for (const [index, digest] of digests.entries()) {
      assert.deepEqual(await readAll(again, digest), contents[index]);
    }
  });
}

test("a file that is cut short under a running client is fetched anew", async () => {
  await using f = await fixture({ memoryCacheSizeBytes: 1 });
  const content = randomBytes(3 * chunk);
  const digest = f.storage.add(content);
  await readAll(f.client, digest);
  await truncate(pathOf(f, digest), chunk);
  assert.deepEqual(await readAll(f.client, digest), content);
  assert.deepEqual(await readFile(pathOf(f, digest)), content);
});

test("temporary files and strange names of an earlier run are no blobs", async () => {
  await using f = await fixture();
  await f.client.close();
  await mkdir(join(f.directory, "partial"), { recursive: true });
  await writeFile(join(f.directory, "partial", "1"), "left over");
  await writeFile(join(f.directory, "blobs", "00", "README"), "?");
  await writeFile(join(f.directory, "blobs", "00", `sha256-${"f".repeat(64)}-3`), "abc");
  await using again = await f.reopen();
  assert.equal(again.statistics().diskBlobs, 0);
  assert.deepEqual(await readdir(join(f.directory, "partial")), []);
});

/** A cache without a reader, with blobs of 1000 bytes. */
async function cacheWith(directory: string, maximumCount: number, digests: readonly Digest[]) {
  const cache = await DiskCache.open({ directory, maximumSizeBytes: 10_000, maximumCount });
  for (const digest of digests) {
    await writeFile(cache.blobPath(digestKey(digest)), Buffer.alloc(digest.sizeBytes));
    cache.add(digest);
  }
  return cache;
}

const thousandBytes = Array.from({ length: 12 }, (_, index) => digestOf(Buffer.alloc(1000, index)));

test("the least recently used blobs go when there are too many bytes", async () => {
  await using f = await fixture();
  await f.client.close();
  const [first, second, third] = thousandBytes.map(digestKey) as [string, string, string];
  const cache = await cacheWith(f.directory, 1e6, thousandBytes.slice(0, 10));
  cache.get(first);
  cache.add({ ...digestOf("larger"), sizeBytes: 1500 });
  assert.ok(cache.sizeBytes <= 10_000);
  assert.deepEqual(
    [first, second, third].map((key) => cache.has(key)),
    [true, false, false],
  );
  await cache.close();
  assert.equal((await cachedFiles(f)).length, 8);
});

test("the order of use survives a restart; the count is bounded, too", async () => {
  await using f = await fixture();
  await f.client.close();
  const cache = await cacheWith(f.directory, 1e6, thousandBytes.slice(0, 10));
  cache.get(digestKey(thousandBytes[0]!));
  await cache.close();
  const again = await cacheWith(f.directory, 3, []);
  const kept = thousandBytes.filter((digest) => again.has(digestKey(digest)));
  assert.deepEqual(
    kept,
    [0, 8, 9].map((index) => thousandBytes[index]),
  );
  await again.close();
});

test("evicted files are removed, and reads of them go on", async () => {
  await using f = await fixture({ memoryCacheSizeBytes: 1 });
  await f.client.close();
  await using client = await f.reopen({
    diskCache: { directory: f.directory, maximumSizeBytes: 4 * chunk, maximumCount: 1e6 },
  });
  const contents = Array.from({ length: 6 }, () => randomBytes(3 * chunk));
  const digests = contents.map((content) => f.storage.add(content));
  for (let round = 0; round < 2; round++) {
    const all = await Promise.all(digests.map((digest) => readAll(client, digest)));
    assert.deepEqual(all, contents);
  }
  await client.close();
  assert.ok((await cachedFiles(f)).length <= 1);
});

test("one blob may be larger than the cache", async () => {
  await using f = await fixture();
  await f.client.close();
  await using client = await f.reopen({
    diskCache: { directory: f.directory, maximumSizeBytes: 1000, maximumCount: 1e6 },
  });
  const content = randomBytes(5 * chunk);
  assert.deepEqual(await readAll(client, f.storage.add(content)), content);
});

test("a directory that another living process uses is refused; a dead one's is taken over", async () => {
  await using f = await fixture();
  await f.client.close();
  const owner = join(f.directory, "owner");
  const parent = await readFile(`/proc/${process.ppid}/stat`, "latin1");
  const startTime = parent.slice(parent.lastIndexOf(")") + 2).split(" ")[19];
  await writeFile(owner, `${process.ppid} ${startTime}`);
  await assert.rejects(f.reopen(), new RegExp(`in use by process ${process.ppid}`));
  await writeFile(owner, `${process.ppid} 1`);
  await (await f.reopen()).close();
});
