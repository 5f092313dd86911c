import assert from "node:assert/strict";
import { test } from "node:test";
import { frameOf } from "../../../../src/cas/local/layout.ts";
import type { LocalStore } from "../../../../src/cas/local/local-store.ts";
import { WriteBehind } from "../../../../src/cas/local/write-behind.ts";
import { contentFor, get, keyOf, openStore, storeFolder } from "./stores.ts";

const entry = (store: LocalStore, name: string, size: number) => ({
  key: keyOf(store, name),
  frame: frameOf(contentFor(name, size), store.identity),
  contentBytes: size,
});
const blocks = (path: string) =>
  ({ blocks: { kind: "file", path: `${path}/blobs`, sizeBytes: 2 ** 22 } }) as const;

test("small entries are written together, in time or when there is enough of them", async () => {
  await using folder = await storeFolder();
  const store = await openStore(folder.path, blocks(folder.path));
  const behind = new WriteBehind(store);
  const first = behind.put([entry(store, "a", 100)]);
  const second = behind.put([entry(store, "b", 100)]);
  assert.equal(store.count, 0);
  assert.deepEqual(await Promise.all([first, second]), [true, true]);
  assert.deepEqual(await get(store, "a", 100), contentFor("a", 100));
  assert.deepEqual(await get(store, "b", 100), contentFor("b", 100));

  const many = ["c", "d"].map((name) => behind.put([entry(store, name, 64 * 1024)]));
  assert.deepEqual(await Promise.all(many), [true, true]);
  assert.equal(await behind.put([entry(store, "e", 200 * 1024)]), true);
  assert.equal(store.count, 5);
  await store.close();
});

test("what waits is written before the end; what has no place is reported as not kept", async () => {
  await using folder = await storeFolder();
  const store = await openStore(folder.path);
  const behind = new WriteBehind(store);
  const kept = behind.put([entry(store, "a", 100)]);
  behind.flush();
  assert.equal(await kept, true);
  const lost = behind.put([entry(store, "too large", 20 * 1024)]);
  behind.flush();
  assert.equal(await lost, false);
  await store.close();
  const again = await openStore(folder.path);
  assert.deepEqual(await get(again, "a", 100), contentFor("a", 100));
  await again.close();
});
