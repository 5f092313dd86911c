import assert from "node:assert/strict";
import { cp, open, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { checkOf, frameOf, newIdentity } from "../../../../src/cas/local/layout.ts";
import type { LocalStore } from "../../../../src/cas/local/local-store.ts";
import { contentFor, get, keyOf, openStore, put, storeFolder } from "./stores.ts";

/** A size that belongs to a name, as with digests. */
const sizeOf = (name: number) => (name * 977) % 5000;

const operation = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("put" as const), names: fc.array(fc.nat(30)) }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("get" as const), name: fc.nat(30) }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("part" as const), name: fc.nat(30), offset: fc.nat(5000) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("delete" as const), name: fc.nat(30) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("persist" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  // What another process would find if this one were killed now.
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("kill" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("flip" as const), at: fc.nat(2 ** 24) }) },
);

test("whatever happens to a store, it has the right bytes or none", async () => {
  let found = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(operation, { minLength: 20, maxLength: 60 }),
      fc.constantFrom(0, 3_600_000),
      async (operations, trustMilliseconds) => {
        await using folder = await storeFolder();
        let path = folder.path;
        let kills = 0;
        const known = new Set<number>();
        let flipped = false;
        let store = await openStore(path, { trustMilliseconds });
        for (const each of operations) {
          switch (each.kind) {
            case "put":
              await store.put(
                each.names.map((name) => ({
                  key: keyOf(store, `${name}`),
                  frame: frameOf(contentFor(`${name}`, sizeOf(name)), store.identity),
                  contentBytes: sizeOf(name),
                })),
              );
              for (const name of each.names) {
                known.add(name);
              }
              break;
            case "get": {
              const content = await get(store, `${each.name}`, sizeOf(each.name));
              // What was never put is not there.
              assert.ok(content === undefined || known.has(each.name));
              if (content !== undefined) {
                found++;
                assert.deepEqual(content, contentFor(`${each.name}`, sizeOf(each.name)));
              }
              break;
            }
            case "part": {
              const size = sizeOf(each.name);
              const entry = store.find([keyOf(store, `${each.name}`)], size);
              // After damage under a running store, what it trusts may be wrong: that is what trust means.
              if (entry !== undefined && !entry.mustReadWhole && !flipped) {
                const offset = Math.min(each.offset, size);
                const part = await store.readPart(entry, offset, size - offset);
                assert.deepEqual(
                  part && Buffer.from(part),
                  contentFor(`${each.name}`, size).subarray(offset),
                );
              }
              break;
            }
            case "delete":
              store.delete([keyOf(store, `${each.name}`)]);
              assert.equal(await get(store, `${each.name}`, sizeOf(each.name)), undefined);
              break;
            case "persist":
              await store.persist();
              break;
            case "restart":
              await store.close();
              store = await openStore(path, { trustMilliseconds });
              break;
            case "kill": {
              const copy = join(folder.path, `${++kills}`);
              await cp(join(path, "blobs"), join(copy, "blobs"));
              await cp(join(path, "state"), join(copy, "state"), { recursive: true });
              await store.close();
              path = copy;
              store = await openStore(path, { trustMilliseconds });
              break;
            }
            case "flip":
              flipped = true;
              await flip(join(path, "blobs"), each.at);
              break;
          }
        }
        await store.close();
      },
    ),
    // Shrinking would take minutes.
    { numRuns: 50, endOnFailure: true },
  );
  assert.ok(found > 50, `only ${found} reads found anything`);
});

/** Flips a bit of the file, but for its superblock. */
async function flip(path: string, at: number): Promise<void> {
  const { size } = await stat(path);
  await using file = await open(path, "r+");
  const position = 4096 + ((at >> 3) % (size - 4096));
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, position);
  byte[0] = byte[0]! ^ (1 << (at & 7));
  await file.write(byte, 0, 1, position);
}

test("what is put survives a restart, with an index and without, and after a kill", async () => {
  await using folder = await storeFolder();
  const store = await openStore(folder.path);
  for (let name = 0; name < 40; name++) {
    await put(store, `${name}`, 500);
    if (name === 20) {
      await store.persist();
    }
  }
  for (const [copy, withIndex] of [
    ["killed", true],
    ["without", false],
  ] as const) {
    await cp(join(folder.path, "blobs"), join(folder.path, copy, "blobs"));
    if (withIndex) {
      await cp(join(folder.path, "state"), join(folder.path, copy, "state"), { recursive: true });
    }
  }
  await store.close();
  for (const path of [folder.path, join(folder.path, "killed"), join(folder.path, "without")]) {
    const again = await openStore(path);
    assert.equal(again.count, 40);
    for (let name = 0; name < 40; name++) {
      assert.deepEqual(await get(again, `${name}`, 500), contentFor(`${name}`, 500));
    }
    await again.close();
  }
});

test("without persistence, a restart finds nothing", async () => {
  await using folder = await storeFolder();
  const first = await openStore(folder.path);
  await put(first, "a", 10);
  await first.close();
  const second = await openStore(folder.path, { persistent: undefined });
  assert.equal(await get(second, "a", 10), undefined);
  await second.close();
});

test("every flipped bit of an entry is noticed after a restart: it is dropped, and the others are there", async () => {
  await using folder = await storeFolder();
  const path = join(folder.path, "blobs");
  const store = await openStore(folder.path);
  for (let name = 0; name < 10; name++) {
    await put(store, `${name}`, 100);
  }
  await store.close();
  const whole = await readFile(path);
  const index = await readFile(join(folder.path, "state/bb_worker-index"));
  const content = contentFor("3", 100);
  // From the header's beginning.
  const start = whole.indexOf(content) - 64;
  for (let byte = 0; byte < 164; byte++) {
    const damaged = Buffer.from(whole);
    damaged[start + byte] = damaged[start + byte]! ^ (1 << (byte % 8));
    await writeFile(path, damaged);
    await writeFile(join(folder.path, "state/bb_worker-index"), index);
    const again = await openStore(folder.path);
    for (let name = 0; name < 10; name++) {
      const expected = name === 3 ? undefined : contentFor(`${name}`, 100);
      assert.deepEqual(await get(again, `${name}`, 100), expected, `byte ${byte}, entry ${name}`);
    }
    assert.equal(again.corruptEntries, 1);
    assert.equal(await get(again, "3", 100), undefined);
    await put(again, "3", 100);
    assert.deepEqual(await get(again, "3", 100), content);
    await again.close();
  }
});

test("every flipped bit of a large entry is noticed, too; its check is another one in each store", async () => {
  await using folder = await storeFolder();
  const size = 70_001;
  const options = { blocks: { kind: "file", path: join(folder.path, "blobs"), sizeBytes: 2 ** 20 } } as const;
  const store = await openStore(folder.path, options);
  const content = contentFor("large", size);
  assert.notDeepEqual(checkOf(content, store.identity), checkOf(content, newIdentity()));
  await put(store, "large", size);
  await store.close();
  const whole = await readFile(join(folder.path, "blobs"));
  const start = whole.indexOf(content);
  for (const [index, at] of [0, 1, 15, 16, 4095, 65_536, 69_999, 70_000].entries()) {
    const damaged = Buffer.from(whole);
    damaged[start + at] = damaged[start + at]! ^ (1 << index);
    await writeFile(join(folder.path, "blobs"), damaged);
    const again = await openStore(folder.path, options);
    // Not assert.equal, which would compare and print all of it.
    assert.ok((await get(again, "large", size)) === undefined, `byte ${at}`);
    await again.close();
  }
  await writeFile(join(folder.path, "blobs"), whole);
  const again = await openStore(folder.path, options);
  assert.ok(content.equals((await get(again, "large", size))!));
  await again.close();
});

test("what is read again and again stays while the ring turns; what is not goes", async () => {
  await using folder = await storeFolder();
  const store = await openStore(folder.path);
  await put(store, "kept", 1000);
  await put(store, "left", 1000);
  for (let name = 0; name < 400; name++) {
    await put(store, `${name}`, 1000);
    assert.deepEqual(await get(store, "kept", 1000), contentFor("kept", 1000));
  }
  assert.equal(await get(store, "left", 1000), undefined);
  assert.ok(store.sizeBytes <= 6 * 16 * 1024);
  assert.equal(store.count, Math.round(store.sizeBytes / 1000));
  await store.close();
});

test("nothing is copied while it is not old", async () => {
  await using folder = await storeFolder();
  const store = await openStore(folder.path);
  await put(store, "a", 1000);
  const before = await readFile(join(folder.path, "blobs"));
  for (let count = 0; count < 100; count++) {
    await get(store, "a", 1000);
  }
  assert.deepEqual(await readFile(join(folder.path, "blobs")), before);
  await store.close();
});

for (const memory of [false, true]) {
  test(`reads that race with the turn of the ring get the right bytes or none; in memory ${memory}`, async () => {
    await using folder = await storeFolder();
    const blockBytes = 512 * 1024;
    // Above what is read and written at once.
    const size = 200 * 1024;
    const store = await openStore(folder.path, {
      ...(memory
        ? { blocks: { kind: "memory", blockBytes }, persistent: undefined }
        : { blocks: { kind: "file", path: join(folder.path, "blobs"), sizeBytes: 4096 + 7 * blockBytes } }),
    });
    let found = 0;
    const reads: Promise<void>[] = [];
    const read = async (name: string) => {
      const entry = store.find([keyOf(store, name)], size);
      if (entry === undefined) {
        return;
      }
      const offset = 1000;
      const [content, expected] = entry.mustReadWhole
        ? [await store.readWhole(entry), contentFor(name, size)]
        : [await store.readPart(entry, offset, size - offset), contentFor(name, size).subarray(offset)];
      if (content !== undefined) {
        found++;
        assert.ok(expected.equals(content), name);
      }
    };
    for (let name = 0; name < 300; name++) {
      const kept = put(store, `${name}`, size);
      for (let back = 1; back < 30; back += 3) {
        reads.push(read(`${name - back}`));
      }
      if (name % 4 === 0) {
        await kept;
      }
    }
    await Promise.all(reads);
    assert.ok(found > 50, `${found}`);
    await store.close();
  });
}

test("a block that is being read is not used again before that has ended", async () => {
  await using folder = await storeFolder();
  const store = await openStore(folder.path);
  await put(store, "leased", 1000);
  const entry = store.find([keyOf(store, "leased")], 1000)!;
  const { position, release } = store.lease(entry);
  for (let name = 0; name < 400; name++) {
    await put(store, `${name}`, 1000);
  }
  assert.equal(store.find([keyOf(store, "leased")], 1000), undefined);
  const bytes = await readFile(join(folder.path, "blobs"));
  assert.deepEqual(bytes.subarray(position, position + 1000), contentFor("leased", 1000));
  release();
  for (let name = 400; name < 800; name++) {
    assert.equal(await put(store, `${name}`, 1000), true);
  }
  await store.close();
});

test("trusted content is checked again after a while, or always if nothing is trusted", async () => {
  await using folder = await storeFolder();
  let now = 0;
  const open = (trustMilliseconds: number) =>
    openStore(folder.path, { trustMilliseconds }, { now: () => now });
  const first = await open(10_000);
  await put(first, "a", 1000);
  const isTrusted = (store: LocalStore) => !store.find([keyOf(store, "a")], 1000)!.mustReadWhole;
  assert.ok(isTrusted(first));
  now += 11_001;
  assert.ok(!isTrusted(first));
  await get(first, "a", 1000);
  assert.ok(isTrusted(first));
  await first.close();
  const second = await open(0);
  await get(second, "a", 1000);
  assert.ok(!isTrusted(second));
  await second.close();
});

test("hierarchical instance names: an entry is there for its own and those below", async () => {
  await using folder = await storeFolder();
  const store = await openStore(folder.path, { hierarchicalInstanceNames: true });
  const [key] = store.keysOf("x", "a/b");
  store.put([{ key, frame: frameOf(contentFor("x", 10), store.identity), contentBytes: 10 }]);
  const has = (instanceName: string) => store.find(store.keysOf("x", instanceName), 10) !== undefined;
  assert.deepEqual(["a/b", "a/b/c", "a/b/c/d", "", "a", "a/c", "a/bc"].map(has), [
    true,
    true,
    true,
    false,
    false,
    false,
    false,
  ]);
  await store.close();
});

test("an entry that no block can hold is not kept, and does no harm", async () => {
  await using folder = await storeFolder();
  const store = await openStore(folder.path);
  assert.equal(await put(store, "large", store.maximumContentBytes), true);
  assert.equal(await put(store, "larger", 16 * 1024), false);
  assert.deepEqual(
    await get(store, "large", store.maximumContentBytes),
    contentFor("large", store.maximumContentBytes),
  );
  await store.close();
});
