import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { eachAtMost } from "../../../src/async/each-at-most.ts";

describe("eachAtMost", () => {
  it("does the work once for each item, in order, and never more than allowed at a time", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 40 }), fc.integer({ min: 1, max: 8 }), async (count, limit) => {
        const items = Array.from({ length: count }, (_, index) => index);
        const begun: number[] = [];
        let [running, most] = [0, 0];
        await eachAtMost(limit, items, async (item) => {
          begun.push(item);
          most = Math.max(most, ++running);
          await new Promise(setImmediate);
          running--;
        });
        assert.deepEqual(begun, items);
        assert.ok(most <= limit && (count < limit || most === limit));
      }),
    );
  });

  it("lets the event loop have its turns where no item waits", async () => {
    let turns = 0;
    let isOver = false;
    const count = () => {
      turns++;
      if (!isOver) {
        setImmediate(count);
      }
    };
    setImmediate(count);
    await eachAtMost(16, Array.from({ length: 10_000 }), async () => {});
    isOver = true;
    assert.ok(turns > 10, `${turns} turns`);
  });

  it("begins nothing more once one has failed, and rejects with that failure", async () => {
    const begun: number[] = [];
    const work = async (item: number) => {
      begun.push(item);
      await new Promise(setImmediate);
      throw new Error(`item ${item}`);
    };
    await assert.rejects(eachAtMost(2, [1, 2, 3, 4, 5], work), /item 1/);
    await new Promise(setImmediate);
    assert.deepEqual(begun, [1, 2]);
  });
});
