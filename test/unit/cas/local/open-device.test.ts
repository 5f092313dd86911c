import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import { decodeSuperblock, encodeSuperblock, newIdentity } from "../../../../src/cas/local/layout.ts";
import { contentFor, get, openStore, put, storeFolder, storeOptions } from "./stores.ts";

test("a new store is a sparse file of the size that is configured, for its owner alone", async () => {
  await using folder = await storeFolder();
  const path = join(folder.path, "not/there/yet");
  const store = await openStore(folder.path, { blocks: { kind: "file", path, sizeBytes: 2 ** 40 } });
  await put(store, "a", 1000);
  await store.close();
  const { size, blocks, mode } = await stat(path);
  assert.equal(size, 2 ** 40);
  assert.ok(blocks * 512 < 1e6, `${blocks}`);
  assert.equal(mode & 0o777, 0o600);
});

for (const [what, content] of [
  ["somebody else's file", Buffer.from("important")],
  ["one of Buildbarn's", randomBytes(200_000)],
  [
    "a superblock that is torn",
    encodeSuperblock(newIdentity(), { blockBytes: 4096, blockCount: 7 }).subarray(0, 50),
  ],
] as const) {
  test(`${what} is refused and not touched, unless it is to be overwritten`, async () => {
    await using folder = await storeFolder();
    const path = join(folder.path, "blobs");
    await writeFile(path, content);
    for (const persistent of [storeOptions(folder.path).persistent, undefined]) {
      await assert.rejects(
        openStore(folder.path, { persistent }),
        /contents that are not this worker's.*--reformat/,
      );
    }
    assert.deepEqual(await readFile(path), content);
    const store = await openStore(folder.path, {}, { reformat: true });
    await put(store, "a", 10);
    await store.close();
    const again = await openStore(folder.path);
    assert.deepEqual(await get(again, "a", 10), contentFor("a", 10));
    await again.close();
  });
}

test("an empty file, or one of holes alone, becomes a store", async () => {
  await using folder = await storeFolder();
  const path = join(folder.path, "blobs");
  for (const size of [0, 1_000_000]) {
    await writeFile(path, "");
    await truncate(path, size);
    await (await openStore(folder.path)).close();
  }
});

test("a store of another size or with other blocks is refused and kept", async () => {
  await using folder = await storeFolder();
  const first = await openStore(folder.path);
  await put(first, "a", 10);
  await first.close();
  const path = join(folder.path, "blobs");
  const { size } = await stat(path);
  await assert.rejects(
    openStore(folder.path, { blocks: { kind: "file", path, sizeBytes: size + 4096 } }),
    new RegExp(`has ${size} bytes, but is configured to have ${size + 4096}`),
  );
  await assert.rejects(
    openStore(folder.path, { oldBlocks: 3 }),
    /7 blocks of 16384 bytes.*8 of 12288.*--reformat/,
  );
  await truncate(path, size - 1);
  await assert.rejects(openStore(folder.path), /bytes, but is configured to have/);
  await truncate(path, size);
  const again = await openStore(folder.path);
  assert.deepEqual(await get(again, "a", 10), contentFor("a", 10));
  await again.close();
});

test("a store of another version's layout is refused and kept, if its contents are wanted", async () => {
  await using folder = await storeFolder();
  await (await openStore(folder.path)).close();
  const path = join(folder.path, "blobs");
  const store = await readFile(path);
  store.writeUInt32LE(store.readUInt32LE(32) + 1, 32);
  store.writeUInt32LE(crc32(store.subarray(0, 62)), 62);
  await writeFile(path, store);
  await assert.rejects(openStore(folder.path), /made by another version of bb_worker.*--reformat/);
  assert.deepEqual(await readFile(path), store);
  await (await openStore(folder.path, { persistent: undefined })).close();
});

test("blocks may change their ages", async () => {
  await using folder = await storeFolder();
  const first = await openStore(folder.path);
  await put(first, "a", 10);
  await first.close();
  const again = await openStore(folder.path, { oldBlocks: 4, currentBlocks: 1, newBlocks: 1 });
  assert.deepEqual(await get(again, "a", 10), contentFor("a", 10));
  for (let name = 0; name < 400; name++) {
    assert.equal(await put(again, `${name}`, 1000), true);
  }
  await again.close();
});

test("the folder of an earlier version's cache is refused, with what to do", async () => {
  await using folder = await storeFolder();
  await mkdir(join(folder.path, "blobs"));
  await assert.rejects(openStore(folder.path), /is a folder.*earlier version.*remove it/);
});

test("what is not a device, or not a file, or too small, is refused", async () => {
  await using folder = await storeFolder();
  const path = join(folder.path, "blobs");
  await writeFile(path, "");
  await assert.rejects(
    openStore(folder.path, { blocks: { kind: "device", path } }),
    /not a block device; give file/,
  );
  await assert.rejects(
    openStore(folder.path, { blocks: { kind: "device", path: join(folder.path, "none") } }),
    /none cannot be opened: ENOENT/,
  );
  await assert.rejects(
    openStore(folder.path, { blocks: { kind: "file", path: "/dev/null", sizeBytes: 1e6 } }),
    /not a regular file/,
  );
  await assert.rejects(
    openStore(folder.path, { blocks: { kind: "file", path, sizeBytes: 10_000 } }),
    /10000 bytes are too few for 7 blocks; give at least 32768/,
  );
});

test("a superblock is what was written, and any damage to it shows", () => {
  const identity = newIdentity();
  const block = encodeSuperblock(identity, { blockBytes: 2 ** 40, blockCount: 38 });
  assert.deepEqual(decodeSuperblock(block), { identity, geometry: { blockBytes: 2 ** 40, blockCount: 38 } });
  for (let bit = 0; bit < 66 * 8; bit++) {
    const damaged = Buffer.from(block);
    damaged[bit >> 3] = damaged[bit >> 3]! ^ (1 << (bit & 7));
    assert.equal(decodeSuperblock(damaged), undefined, `bit ${bit}`);
  }
});
