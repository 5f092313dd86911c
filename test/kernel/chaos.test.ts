import assert from "node:assert/strict";
import { it } from "node:test";
import { runChaos } from "../chaos/run.ts";

it("faults lose no action, falsify none, and leave nothing behind", {
  skip: !process.env.IN_KERNEL && "run it by npm run in-kernel",
}, async () => {
  const log: string[] = [];
  const { failures } = await runChaos({
    seed: 1,
    // One round.
    milliseconds: 1,
    faultsPerRound: 8,
    note: () => {},
    log: (line) => log.push(line),
  });
  assert.deepEqual(failures, [], `the programs said last:\n${log.slice(-100).join("\n")}`);
});
