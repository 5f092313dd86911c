import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { unlessAborted, waitAtMost } from "../../../src/async/wait.ts";

const never = new Promise<never>(() => {});

test("waitAtMost: true for what comes in time, false when time is up", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  assert.equal(await waitAtMost(Promise.resolve(), 1000), true);
  const late = waitAtMost(never, 1000);
  context.mock.timers.tick(999);
  assert.equal(await Promise.race([late, "not yet"]), "not yet");
  context.mock.timers.tick(1);
  assert.equal(await late, false);
});

test("waitAtMost: an infinite time does not end at once", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const event = Promise.withResolvers<void>();
  const waiting = waitAtMost(event.promise, Number.POSITIVE_INFINITY);
  context.mock.timers.tick(1e9);
  event.resolve();
  assert.equal(await waiting, true);
});

test("waitAtMost: rejects as the promise does, and with the signal's reason", async () => {
  await assert.rejects(waitAtMost(Promise.reject(new Error("failed")), 1000), /failed/);
  const cancel = new AbortController();
  const waiting = waitAtMost(never, 1000, cancel.signal);
  cancel.abort(new Error("cancelled"));
  await assert.rejects(waiting, /cancelled/);
});

test("waitAtMost: leaves no timer and no listener behind", async () => {
  const timers = () => process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length;
  const before = timers();
  const { signal } = new AbortController();
  await waitAtMost(Promise.resolve(), 100_000, signal);
  assert.equal(timers(), before);
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("unlessAborted: the promise's outcome, or the signal's reason", async () => {
  const { signal } = new AbortController();
  assert.equal(await unlessAborted(Promise.resolve(7), signal), 7);
  await assert.rejects(unlessAborted(Promise.reject(new Error("failed")), signal), /failed/);
  assert.equal(getEventListeners(signal, "abort").length, 0);
  const aborted = AbortSignal.abort(new Error("cancelled"));
  await assert.rejects(unlessAborted(never, aborted), /cancelled/);
  // Its rejection, which nobody waits for any more, must not end the process.
  await assert.rejects(unlessAborted(Promise.reject(new Error("failed")), aborted), /cancelled/);
});
