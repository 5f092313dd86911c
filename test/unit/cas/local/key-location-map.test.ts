import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { KeyLocationMap, type KeyLocationMapOptions } from "../../../../src/cas/local/key-location-map.ts";
import { entryKey, newIdentity } from "../../../../src/cas/local/layout.ts";

const identity = newIdentity();
const keys = Array.from({ length: 200_000 }, (_, name) => entryKey(identity, `${name}`));

function mapOf(changes: Partial<KeyLocationMapOptions> = {}) {
  return new KeyLocationMap({
    maximumEntries: 1_000_000,
    maximumGetAttempts: 16,
    maximumPutAttempts: 64,
    isAlive: () => true,
    forgotten: () => {},
    ...changes,
  });
}

test("a map finds what was put last, as long as its block is there, or nothing", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("put" as const), name: fc.nat(300), turn: fc.nat(2) }),
    fc.record({ kind: fc.constant("remove" as const), name: fc.nat(300) }),
    fc.record({ kind: fc.constant("turn" as const) }),
  );
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 400 }),
      fc.constantFrom(50, 1_000_000),
      (steps, maximumEntries) => {
        let oldest = 1;
        const map = mapOf({
          maximumEntries,
          isAlive: (turn) => turn >= oldest,
        });
        const model = new Map<number, { turn: number; offset: number }[]>();
        let offset = 4;
        for (const each of steps) {
          if (each.kind === "put") {
            const location = { turn: oldest + each.turn, offset: offset++, contentBytes: 1 };
            map.put(keys[each.name]!, location, 0);
            model.set(each.name, [...(model.get(each.name) ?? []), location]);
          } else if (each.kind === "remove") {
            const slot = map.find(keys[each.name]!);
            if (slot !== undefined) {
              map.remove(slot);
              model.delete(each.name);
            }
            assert.equal(map.find(keys[each.name]!), undefined);
          } else {
            oldest++;
          }
        }
        for (let name = 0; name <= 300; name++) {
          const slot = map.find(keys[name]!);
          if (slot !== undefined) {
            const { turn, offset } = map.location(slot);
            assert.ok(turn >= oldest);
            assert.ok(model.get(name)?.some((put) => put.turn === turn && put.offset === offset));
          }
        }
      },
    ),
  );
});

test("a map with room loses nothing, and takes at most 100 bytes for an entry", () => {
  const map = mapOf();
  for (const [name, key] of keys.entries()) {
    map.put(key, { turn: 1, offset: name, contentBytes: name }, 0);
  }
  for (const [name, key] of keys.entries()) {
    assert.deepEqual(map.location(map.find(key)!), { turn: 1, offset: name, contentBytes: name });
  }
  assert.ok(map.sizeBytes / keys.length < 100, `${map.sizeBytes / keys.length}`);
});

test("a map that is full gives up what is oldest first", () => {
  const map = mapOf({ maximumEntries: 10_000 });
  for (let name = 0; name < 30_000; name++) {
    map.put(keys[name]!, { turn: 1 + Math.floor(name / 1000), offset: name, contentBytes: 1 }, 0);
  }
  const found = (from: number) =>
    keys.slice(from, from + 5000).filter((key) => map.find(key) !== undefined).length;
  // A few may be lost where long runs of taken places meet: keys differ from run to run.
  assert.ok(found(25_000) > 4900, `${found(25_000)}`);
  assert.ok(found(0) < 100, `${found(0)}`);
  assert.ok(map.sizeBytes <= 10_000 * 32);
});

test("what is validated stays so while the map grows and entries move", () => {
  const map = mapOf();
  for (let name = 0; name < 5000; name++) {
    map.put(keys[name]!, { turn: 1, offset: name, contentBytes: 1 }, 0);
    map.setValidatedAt(map.find(keys[name]!)!, name);
  }
  for (let name = 0; name < 5000; name++) {
    assert.equal(map.validatedAt(map.find(keys[name]!)!), name);
  }
});
