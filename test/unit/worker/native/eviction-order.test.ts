import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { evictionOrder, type ReplacementPolicy } from "../../../../src/worker/native/eviction-order.ts";

type Step = readonly ["add" | "touch" | "delete", string];

const steps = fc.array(
  fc.tuple(fc.constantFrom("add", "touch", "delete"), fc.constantFrom(..."abcdefgh")),
) as fc.Arbitrary<Step[]>;

/** The keys that are there after the steps, in the order in which they were added, or used. */
function keysAfter(all: readonly Step[], movesWhenUsed: boolean): string[] {
  let keys: string[] = [];
  for (const [verb, key] of all) {
    const isThere = keys.includes(key);
    if (verb === "delete" || (verb === "touch" && isThere && movesWhenUsed)) {
      keys = keys.filter((other) => other !== key);
    }
    if ((verb === "add" && !isThere) || (verb === "touch" && isThere && movesWhenUsed)) {
      keys.push(key);
    }
  }
  return keys;
}

function orderAfter(policy: ReplacementPolicy, all: readonly Step[]) {
  const order = evictionOrder(policy);
  const there = new Set<string>();
  for (const [verb, key] of all) {
    if (verb === "add" && there.has(key)) {
      continue;
    }
    order[verb](key);
    if (verb === "add") {
      there.add(key);
    } else if (verb === "delete") {
      there.delete(key);
    }
  }
  return order;
}

describe("the order in which a cache gives up its keys", () => {
  it("is that in which they came, or were used", () => {
    fc.assert(
      fc.property(steps, (all) => {
        assert.deepEqual([...orderAfter("firstInFirstOut", all).candidates()], keysAfter(all, false));
        assert.deepEqual([...orderAfter("leastRecentlyUsed", all).candidates()], keysAfter(all, true));
      }),
    );
  });

  it("has each key once if it is random, also while some are deleted", () => {
    fc.assert(
      fc.property(steps, fc.func(fc.boolean()), (all, isDeleted) => {
        const order = orderAfter("randomReplacement", all);
        const expected = keysAfter(all, false).toSorted();
        const seen: string[] = [];
        for (const key of order.candidates()) {
          seen.push(key);
          if (isDeleted(key)) {
            order.delete(key);
          }
        }
        assert.deepEqual(seen.toSorted(), expected);
        assert.deepEqual(
          [...order.candidates()].toSorted(),
          expected.filter((key) => !isDeleted(key)),
        );
      }),
    );
  });

  it("is random if it is to be", () => {
    const first = () => {
      const order = evictionOrder("randomReplacement");
      order.add("a");
      order.add("b");
      return [...order.candidates()][0];
    };
    // That all are the same happens once in 2^99 times.
    assert.equal(new Set(Array.from({ length: 100 }, first)).size, 2);
  });
});
