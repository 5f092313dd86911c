import assert from "node:assert/strict";
import { test } from "node:test";
import { Semaphore } from "../../../src/async/semaphore.ts";

test("no more than allowed at a time; who gives up leaves the line", async () => {
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
