import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { type Shard, shardSelector } from "../../../src/cas/sharding.ts";

const shards = [
  { key: "a", weight: 1 },
  { key: "b", weight: 2 },
  { key: "c", weight: 4 },
  { key: "d", weight: 7 },
  { key: "e", weight: 1 },
];

const hash = (number: number) => number.toString(16).padStart(16, "0") + "0".repeat(48);

test("blobs lie where Buildbarn's storage looks for them", () => {
  const select = shardSelector(shards);
  // What bb-storage's own tests hold fixed for these shards.
  const expected = [3, 2, 0, 3, 3, 3, 0, 0, 1, 3, 0, 3, 1, 2, 2, 2, 3, 3, 1, 3];
  assert.deepEqual(
    expected.map((_, number) => select(hash(number))),
    expected,
  );
});

interface Vectors {
  readonly shards: readonly Shard[];
  /** By the first 16 digits of a blob's hash, the key of its shard. */
  readonly blobs: Readonly<Record<string, string>>;
}

test("each blob lies on the shard where bb-storage bdd785e, asked for these, has put it", () => {
  const all: readonly Vectors[] = JSON.parse(readFileSync(join(import.meta.dirname, "shards.json"), "utf8"));
  for (const { shards, blobs } of all) {
    const select = shardSelector(shards);
    const found = Object.keys(blobs).map((hash) => [hash, shards[select(hash)]!.key]);
    assert.deepEqual(Object.fromEntries(found), blobs);
    assert.equal(found.length, 60);
  }
});

test("shares are as the weights say", () => {
  const select = shardSelector(shards);
  const counts = shards.map(() => 0);
  const total = 30_000;
  for (let number = 0; number < total; number++) {
    counts[select(hash(number))]!++;
  }
  for (const [index, { weight }] of shards.entries()) {
    assert.ok(Math.abs(counts[index]! / total - weight / 15) < 0.01, `${counts}`);
  }
});

test("neither order nor the removal of another shard moves a blob", () => {
  const select = shardSelector(shards);
  const reversed = shardSelector(shards.toReversed());
  const fewer = shardSelector(shards.slice(0, 4));
  const anyHash = fc.string({ minLength: 64, maxLength: 64, unit: fc.constantFrom(..."0123456789abcdef") });
  fc.assert(
    fc.property(anyHash, (hash) => {
      const shard = select(hash);
      assert.equal(4 - reversed(hash), shard);
      if (shard !== 4) {
        assert.equal(fewer(hash), shard);
      }
    }),
  );
});
