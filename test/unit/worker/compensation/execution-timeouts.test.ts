import assert from "node:assert/strict";
import { it } from "node:test";
import { ExecutionTimeout } from "../../../../src/worker/action/execution-timeout.ts";
import { ExecutionTimeouts } from "../../../../src/worker/compensation/execution-timeouts.ts";

it("stops the clocks of what runs and of what starts meanwhile, until the last who stopped them lets them go", () => {
  let now = 0;
  const start = () =>
    new ExecutionTimeout(
      1_000_000,
      1_000_000,
      () => {},
      () => now,
    );
  const timeouts = new ExecutionTimeouts();
  const early = start();
  const late = start();
  const ended = start();
  timeouts.add(early);
  const gone = timeouts.add(ended);
  now = 1;
  timeouts.suspend();
  gone[Symbol.dispose]();
  now = 10;
  timeouts.suspend();
  timeouts.add(late);
  now = 100;
  timeouts.resume();
  now = 1_000;
  timeouts.resume();
  now = 10_000;
  assert.equal(early.stop(), 9_001);
  assert.equal(late.stop(), 9_010);
  // One that has left stays as it was: it has been stopped for good by then.
  assert.equal(ended.stop(), 1);

  // The count of suspensions is right again.
  const another = start();
  timeouts.add(another);
  now = 10_005;
  assert.equal(another.stop(), 5);
});
