import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { describe, it, type TestContext } from "node:test";
import { killLaterProcesses } from "../../../src/runner/process-table.ts";
import { processIsGone } from "./processes.ts";

const asRoot = process.getuid?.() === 0 ? {} : { skip: "needs root" };
/** Of no other test, since all of its later processes on this machine are killed. */
const userId = 61_237;

/** A process with these user IDs (-p: that the shell keeps) that has begun to sleep; another is killed at the test's end. */
async function startSleeper(
  test: TestContext,
  realUserId: number,
  effectiveUserId: number,
): Promise<ChildProcess> {
  const ids = ["--ruid", `${realUserId}`, "--euid", `${effectiveUserId}`, "--clear-groups"];
  const program = ["sh", "-p", "-c", "echo; exec sleep 1000"];
  const child = spawn("setpriv", [...ids, ...program], { stdio: ["ignore", "pipe", "inherit"] });
  test.after(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  return child;
}

describe("the process table", { ...asRoot, timeout: 20_000 }, () => {
  it("loses the user's later processes only, whichever of their user IDs is the user's", async (test) => {
    const mine = await startSleeper(test, userId, userId);
    const effective = await startSleeper(test, userId + 1, userId);
    const real = await startSleeper(test, userId, userId + 1);
    const others = await startSleeper(test, userId + 1, userId + 1);
    await killLaterProcesses(userId);
    // They have ended already when it returns.
    for (const { pid } of [mine, effective, real]) {
      assert.ok(pid && processIsGone(pid));
    }
    assert.equal(others.exitCode ?? others.signalCode, null);
  });
});
