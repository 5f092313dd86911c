import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { it } from "node:test";

const module = join(import.meta.dirname, "../../../src/worker/resource-limits.ts");

it("setResourceLimits limits the process, and says what cannot be had", () => {
  const script = `
    import { readFileSync } from "node:fs";
    import { setResourceLimits } from ${JSON.stringify(module)};
    setResourceLimits([{ name: "NOFILE", resource: 7, soft: 300n, hard: 400n }]);
    console.log(readFileSync("/proc/self/limits", "latin1").match(/Max open files +([0-9]+) +([0-9]+)/).slice(1).join());
    try {
      setResourceLimits([{ name: "NOFILE", resource: 7, soft: 2n, hard: 1n }]);
    } catch (error) {
      console.log(error.message);
    }`;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  assert.equal(stdout, "300,400\ncannot set the limit NOFILE: EINVAL\n");
});
