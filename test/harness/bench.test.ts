/** That the suite measures what it says, on one of its scenarios. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import type { Results } from "../../bench/suite/measurements.ts";

const repository = path.resolve(import.meta.dirname, "../..");

describe("npm run bench", () => {
  it("--quick: lazily nothing is moved for a start, by hard links all of the input root", async () => {
    const out = mkdtempSync(path.join(tmpdir(), "bench-test-"));
    try {
      const args = ["bench/main.ts", "--quick", "--sides", "nfs,hard-links", "--out", out, "start"];
      await promisify(execFile)(process.execPath, args, { cwd: repository });
      const { series, failures } = JSON.parse(
        readFileSync(path.join(out, "results.json"), "utf8"),
      ) as Results;
      assert.deepEqual(failures, []);
      const megabytes = (side: string, title: string) =>
        series.find((one) => one.side === side && one.case === title && one.metric.name === "fetched")!
          .values[0]!;
      assert.ok(megabytes("nfs", "4000 files, cold") < 0.1);
      assert.ok(megabytes("hard-links", "4000 files, cold") > 3);
      assert.ok(megabytes("hard-links", "4000 files, again") < 0.1);
      assert.match(readFileSync(path.join(out, "report.html"), "utf8"), /4000 files, again/);
    } finally {
      rmSync(out, { recursive: true });
    }
  });

  it("says what it does not know", async () => {
    for (const [args, complaint] of [
      [["nonsense"], /there is no scenario "nonsense"/],
      [["--runs", "0"], /--runs 0: must be a whole number/],
      [["--peer", "other=/tmp"], /must be buildbarn=DIR/],
    ] as const) {
      const run = promisify(execFile)(process.execPath, ["bench/main.ts", ...args], { cwd: repository });
      await assert.rejects(run, (error: { code: number; stderr: string }) => {
        assert.match(error.stderr, complaint);
        return error.code === 2;
      });
    }
  });
});
