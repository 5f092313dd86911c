import assert from "node:assert/strict";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import {
  decodeIndex,
  encodeIndex,
  type IndexedBlock,
  type IndexedEntry,
} from "../../../../src/cas/local/index-file.ts";
import { newIdentity } from "../../../../src/cas/local/layout.ts";
import type { LocalStore } from "../../../../src/cas/local/local-store.ts";
import { contentFor, get, keyOf, openStore, put, storeFolder } from "./stores.ts";

const identity = newIdentity();
const blockBytes = 16 * 1024;

/** Blocks with entries one behind the other. */
const index = fc.array(fc.array(fc.nat(500), { maxLength: 20 }), { maxLength: 6 }).map((sizesOfBlocks) => {
  const entries: IndexedEntry[] = [];
  const blocks = sizesOfBlocks.map((sizes, position) => {
    let writeOffset = 64;
    for (const [number, contentBytes] of sizes.entries()) {
      const key = Uint32Array.from([position, number, contentBytes, 7]);
      entries.push({ key, location: { turn: position + 5, offset: writeOffset / 16, contentBytes } });
      writeOffset += 64 + Math.ceil(contentBytes / 16) * 16;
    }
    return { turn: position + 5, position, writeOffset };
  });
  return { blocks, entries };
});

const encode = ({ blocks, entries }: { blocks: IndexedBlock[]; entries: IndexedEntry[] }) =>
  encodeIndex(
    identity,
    blocks,
    Uint32Array.from(
      entries.flatMap(({ key, location: { turn, offset, contentBytes } }) => [
        ...key,
        turn,
        offset,
        contentBytes,
      ]),
    ),
  );

test("an index is read as it was written", () => {
  fc.assert(
    fc.property(index, ({ blocks, entries }) => {
      const decoded = decodeIndex(encode({ blocks, entries }), identity, blockBytes);
      assert.deepEqual(decoded?.blocks, blocks);
      assert.deepEqual([...decoded!.entries], entries);
    }),
  );
});

test("arbitrary bytes, another store's index, a damaged or torn one are no index", () => {
  fc.assert(
    fc.property(index, fc.nat(), fc.integer({ min: 1, max: 255 }), (whole, at, change) => {
      const bytes = encode(whole);
      assert.equal(decodeIndex(bytes, newIdentity(), blockBytes), undefined);
      assert.equal(decodeIndex(bytes.subarray(0, at % bytes.length), identity, blockBytes), undefined);
      const damaged = Buffer.from(bytes);
      // All but the last bytes of the header, which mean nothing.
      const place = at % bytes.length;
      damaged[place] = damaged[place]! ^ change;
      if (place < 40 || place >= 48) {
        assert.equal(decodeIndex(damaged, identity, blockBytes), undefined);
      }
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assert.equal(decodeIndex(Buffer.from(bytes), identity, blockBytes), undefined);
    }),
  );
});

test("an index with right checksums and wrong contents is refused, or names nothing outside of its blocks", () => {
  fc.assert(
    fc.property(index, fc.nat(), fc.uint8Array({ minLength: 4, maxLength: 4 }), (whole, at, word) => {
      const bytes = encode(whole);
      if (bytes.length > 48) {
        bytes.set(word, 48 + (at % ((bytes.length - 48) / 4)) * 4);
      }
      bytes.writeUInt32LE(crc32(bytes.subarray(48)), 32);
      bytes.writeUInt32LE(crc32(bytes.subarray(0, 36)), 36);
      const decoded = decodeIndex(bytes, identity, blockBytes);
      const ends = new Map(decoded?.blocks.map(({ turn, writeOffset }) => [turn, writeOffset]));
      for (const { location } of decoded?.entries ?? []) {
        assert.ok(location.offset * 16 >= 64);
        assert.ok(location.offset * 16 + 64 + location.contentBytes <= ends.get(location.turn)!);
      }
      assert.ok([...ends.values()].every((end) => end <= blockBytes));
    }),
  );
});

test("a store whose index is damaged, or is of an earlier time, or is not there finds its entries all the same", async () => {
  await using folder = await storeFolder();
  const file = join(folder.path, "state/bb_worker-index");
  const store = await openStore(folder.path);
  for (let name = 0; name < 20; name++) {
    await put(store, `${name}`, 300);
  }
  await store.persist();
  await cp(file, join(folder.path, "early"));
  for (let name = 20; name < 40; name++) {
    await put(store, `${name}`, 300);
  }
  await store.close();
  const whole = await readFile(file);
  const early = await readFile(join(folder.path, "early"));
  assert.notDeepEqual(early, whole);
  for (const bytes of [whole, early, whole.subarray(0, 100), Buffer.alloc(0), Buffer.from("no index")]) {
    await writeFile(file, bytes);
    const again = await openStore(folder.path);
    assert.equal(again.count, 40);
    for (let name = 0; name < 40; name++) {
      assert.deepEqual(await get(again, `${name}`, 300), contentFor(`${name}`, 300));
    }
    assert.equal(again.corruptEntries, 0);
    await again.close();
  }
});

test("an index that has been overtaken by the turn of the ring names nothing that is gone", async () => {
  await using folder = await storeFolder();
  const file = join(folder.path, "state/bb_worker-index");
  const store = await openStore(folder.path);
  for (let name = 0; name < 60; name++) {
    await put(store, `${name}`, 1000);
  }
  await store.persist();
  const early = await readFile(file);
  for (let name = 60; name < 400; name++) {
    await put(store, `${name}`, 1000);
  }
  await store.close();
  await writeFile(file, early);
  const again = await openStore(folder.path);
  let found = 0;
  for (let name = 0; name < 400; name++) {
    const content = await get(again, `${name}`, 1000);
    if (content !== undefined) {
      found++;
      assert.deepEqual(content, contentFor(`${name}`, 1000));
    }
  }
  assert.ok(found > 50);
  assert.equal(again.corruptEntries, 0);
  await again.close();
});

test("a state directory that cannot be used is an error", async () => {
  await using folder = await storeFolder();
  await mkdir(join(folder.path, "state/bb_worker-index"), { recursive: true });
  await assert.rejects(openStore(folder.path), /EISDIR/);
});

test("what was given up does not come back, though it still lies behind what was written last", async () => {
  await using folder = await storeFolder();
  const store = await openStore(folder.path);
  for (let name = 0; name < 400; name++) {
    await put(store, `${name}`, 1000);
  }
  const namesIn = (store: LocalStore) =>
    Array.from({ length: 400 }, (_, name) => `${name}`).filter(
      (name) => store.find([keyOf(store, name)], 1000) !== undefined,
    );
  const before = namesIn(store);
  await store.close();
  await rm(join(folder.path, "state"), { recursive: true });
  const again = await openStore(folder.path);
  assert.deepEqual(namesIn(again), before);
  await again.close();
});
