import assert from "node:assert/strict";
import { test } from "node:test";
import { type Clock, DEFAULT_RETRY_POLICY, retry } from "../../../src/cas/transfer/retry.ts";
import { BlobError } from "../../../src/reapi/blob-error.ts";

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

test("backs off, gives up after the last attempt, begins to count anew on progress", async () => {
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

test("what cannot get better is not repeated", async () => {
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

test("an aborted signal ends it with its reason, also while it sleeps", async () => {
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
