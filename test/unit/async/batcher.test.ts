import assert from "node:assert/strict";
import { test } from "node:test";
import { Batcher } from "../../../src/async/batcher.ts";

function batcher(run: (items: readonly number[]) => Promise<readonly (string | Error)[]>) {
  return new Batcher<number, string>({
    maximumCount: 4,
    maximumBytes: 100,
    bytes: (item) => item,
    group: (item) => (item < 0 ? "negative" : "positive"),
    maximumConcurrency: 1,
    run,
  });
}

test("one tick's items go together, within the bounds and the group", async () => {
  const batches: (readonly number[])[] = [];
  const batching = batcher(async (items) => {
    batches.push(items);
    return items.map(String);
  });
  const items = [1, 2, 3, -1, 4, 5, 60, 50, 200, 6];
  assert.deepEqual(await Promise.all(items.map((item) => batching.add(item))), items.map(String));
  const sorted = batches.toSorted((a, b) => a[0]! - b[0]!);
  assert.deepEqual(
    sorted,
    [[-1], [1, 2, 3, 4], [5, 60], [6], [50], [200]].toSorted((a, b) => a[0]! - b[0]!),
  );
});

test("what comes while a batch is under way makes the next one", async () => {
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const started = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const batches: (readonly number[])[] = [];
  const batching = batcher(async (items) => {
    const index = batches.push(items) - 1;
    started[index]!.resolve();
    await gates[index]!.promise;
    return items.map(String);
  });
  const first = batching.add(1);
  await started[0]!.promise;
  const others = [batching.add(2), batching.add(3)];
  gates[0]!.resolve();
  await first;
  await started[1]!.promise;
  gates[1]!.resolve();
  await Promise.all(others);
  assert.deepEqual(batches, [[1], [2, 3]]);
});

test("one item's error is its own, a rejection is everybody's, and neither lasts", async () => {
  let call = 0;
  const batching = batcher(async (items) => {
    call++;
    if (call === 2) {
      throw new Error("all");
    }
    return items.map((item) => (call === 1 && item === 2 ? new Error("one") : String(item)));
  });
  const settle = async () =>
    (await Promise.allSettled([batching.add(1), batching.add(2)])).map((result) =>
      result.status === "fulfilled" ? result.value : result.reason.message,
    );
  assert.deepEqual(await settle(), ["1", "one"]);
  assert.deepEqual(await settle(), ["all", "all"]);
  assert.deepEqual(await settle(), ["1", "2"]);
});
