import assert from "node:assert/strict";
import { test } from "node:test";
import { ReadAhead } from "../../../src/cas/read/read-ahead.ts";
import { Batcher } from "../../../src/cas/transfer/batcher.ts";
import { type Clock, DEFAULT_RETRY_POLICY, retry } from "../../../src/cas/transfer/retry.ts";
import { Semaphore } from "../../../src/cas/transfer/semaphore.ts";
import { SingleFlight } from "../../../src/cas/transfer/single-flight.ts";
import { BlobError } from "../../../src/reapi/blob-error.ts";

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

test("Batcher: one tick's items go together, within the bounds and the group", async () => {
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

test("Batcher: what comes while a batch is under way makes the next one", async () => {
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

test("Batcher: one item's error is its own, a rejection is everybody's, and neither lasts", async () => {
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

test("SingleFlight: callers share, failures do not last", async () => {
  const flights = new SingleFlight<number>();
  let starts = 0;
  const fail = Promise.withResolvers<number>();
  const start = () => (++starts === 1 ? fail.promise : Promise.resolve(starts));
  const both = Promise.allSettled([flights.run("k", undefined, start), flights.run("k", undefined, start)]);
  fail.reject(new Error("first"));
  assert.deepEqual(
    (await both).map(({ status }) => status),
    ["rejected", "rejected"],
  );
  assert.equal(starts, 1);
  assert.equal(await flights.run("k", undefined, start), 2);
});

test("SingleFlight: aborted when the last caller gives up; the next one begins anew", async () => {
  const flights = new SingleFlight<number>();
  const signals: AbortSignal[] = [];
  const start = (signal: AbortSignal) => {
    signals.push(signal);
    return new Promise<number>(() => {});
  };
  const one = new AbortController();
  const two = new AbortController();
  const calls = [flights.run("k", one.signal, start), flights.run("k", two.signal, start)];
  one.abort(new Error("one"));
  await assert.rejects(calls[0]!, /one/);
  assert.equal(signals[0]!.aborted, false);
  two.abort(new Error("two"));
  await assert.rejects(calls[1]!, /two/);
  assert.equal(signals[0]!.aborted, true);
  assert.equal(await flights.run("k", undefined, async () => 7), 7);
  await assert.rejects(flights.run("k", one.signal, start), /one/);
});

test("Semaphore: no more than allowed at a time; who gives up leaves the line", async () => {
  const semaphore = new Semaphore(2);
  let running = 0;
  let most = 0;
  const gate = Promise.withResolvers<void>();
  const work = async () => {
    most = Math.max(most, ++running);
    await gate.promise;
    running--;
  };
  const cancel = new AbortController();
  const all = [1, 2, 3, 4].map(() => semaphore.run(undefined, work));
  const impatient = semaphore.run(cancel.signal, work);
  cancel.abort(new Error("impatient"));
  await assert.rejects(impatient, /impatient/);
  gate.resolve();
  await Promise.all(all);
  assert.equal(most, 2);
});

/** Time passes only when it is waited for. */
function fakeClock(): Clock & { readonly slept: number[] } {
  const slept: number[] = [];
  return {
    slept,
    now: () => 0,
    timer: () => () => {},
    async sleep(milliseconds) {
      slept.push(milliseconds);
    },
  };
}

test("retry: backs off, gives up after the last attempt, begins to count anew on progress", async () => {
  const clock = fakeClock();
  let attempts = 0;
  const fails = retry(
    "it",
    { ...DEFAULT_RETRY_POLICY, maximumAttempts: 5 },
    1000,
    clock,
    undefined,
    async () => {
      attempts++;
      throw new BlobError(14, "down");
    },
  );
  await assert.rejects(fails, /down/);
  assert.equal(attempts, 5);
  for (const [index, ceiling] of [100, 200, 400, 800].entries()) {
    assert.ok(clock.slept[index]! >= ceiling / 2 && clock.slept[index]! <= ceiling);
  }
  let steps = 0;
  const succeeds = retry("it", DEFAULT_RETRY_POLICY, 1000, clock, undefined, async ({ progress }) => {
    progress();
    if (++steps < 20) {
      throw new BlobError(14, "down");
    }
    return "done";
  });
  assert.equal(await succeeds, "done");
});

test("retry: what cannot get better is not repeated", async () => {
  for (const code of [3, 5, 7, 9, 15, 16]) {
    let attempts = 0;
    const call = retry("it", DEFAULT_RETRY_POLICY, 1000, fakeClock(), undefined, async () => {
      attempts++;
      throw new BlobError(code, "no");
    });
    await assert.rejects(call, /no/);
    assert.equal(attempts, 1);
  }
});

test("retry: an aborted signal ends it with its reason, also while it sleeps", async () => {
  const cancel = new AbortController();
  const clock: Clock = {
    ...fakeClock(),
    sleep: (_, signal) =>
      new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason))),
  };
  const call = retry("it", DEFAULT_RETRY_POLICY, 1000, clock, cancel.signal, async () => {
    queueMicrotask(() => setImmediate(() => cancel.abort(new Error("enough"))));
    throw new BlobError(14, "down");
  });
  await assert.rejects(call, /enough/);
});

const MiB = 1024 * 1024;

test("ReadAhead: nothing for a look at the head or for random pages", () => {
  const readAhead = new ReadAhead(2 * MiB, 16 * MiB);
  assert.equal(readAhead.note(0, 4096), 0);
  assert.equal(readAhead.note(4096, 128 * 1024), 0);
  for (const offset of [500, 20, 300, 7, 90]) {
    assert.equal(readAhead.note(offset * MiB, 4096), 0);
  }
});

test("ReadAhead: grows with what is read in sequence, each part asked for once", () => {
  const readAhead = new ReadAhead(2 * MiB, 16 * MiB);
  let covered = 0;
  for (let offset = 0; offset < 100 * MiB; offset += MiB) {
    const until = readAhead.note(offset, MiB);
    if (until > 0) {
      assert.ok(readAhead.from >= covered);
      covered = until;
      assert.ok(until - (offset + MiB) <= 18 * MiB);
    }
    if (offset > 40 * MiB) {
      assert.ok(covered - offset >= 8 * MiB, "ahead of the reader");
    }
  }
});

test("ReadAhead: reads that overtake each other are still a sequence", () => {
  const readAhead = new ReadAhead(2 * MiB, 16 * MiB);
  for (const part of [1, 0, 3, 2, 5, 4]) {
    readAhead.note((part * MiB) / 2, MiB / 2);
  }
  assert.ok(readAhead.note(3 * MiB, MiB / 2) > 0 || readAhead.from > 0);
});
