import assert from "node:assert/strict";
import { test } from "node:test";
import { ExecutionTimeout } from "../../../src/worker/action/execution-timeout.ts";

test("the clock stands still while the action waits, however many of its waits overlap or fail", async () => {
  let now = 0;
  const timeout = new ExecutionTimeout(
    1_000_000,
    1_000_000,
    () => {},
    () => now,
  );
  now = 10;
  const first = Promise.withResolvers<void>();
  const second = Promise.withResolvers<void>();
  timeout.suspendUntil(first.promise);
  now = 20;
  timeout.suspendUntil(second.promise);
  now = 30;
  first.resolve();
  await first.promise;
  now = 40;
  second.reject(new Error("lost"));
  await second.promise.catch(() => {});
  now = 45;
  assert.equal(timeout.stop(), 15);
});

test("it stands still for no longer than compensation lasts", async () => {
  let now = 0;
  const timeout = new ExecutionTimeout(
    1_000_000,
    7,
    () => {},
    () => now,
  );
  const wait = Promise.withResolvers<void>();
  timeout.suspendUntil(wait.promise);
  now = 20;
  wait.resolve();
  await wait.promise;
  assert.equal(timeout.stop(), 13);
});
