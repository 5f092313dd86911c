import assert from "node:assert/strict";
import { test } from "node:test";
import { CALLS, Recorder, type Results, WALL } from "../../../bench/suite/measurements.ts";
import { htmlReport } from "../../../bench/suite/report/html.ts";
import { formatRatio, tablesOf } from "../../../bench/suite/report/tables.ts";
import { terminalReport } from "../../../bench/suite/report/terminal.ts";

/** `factor` is of all that was measured. */
function results(factor = 1): Results {
  const recorder = new Recorder();
  for (const value of [1, 3, 2]) {
    recorder.add("build", "cold", WALL, "nfs", value * factor);
    recorder.add("build", "cold", WALL, "fuse", value * 2 * factor);
  }
  recorder.add("build", "cold", CALLS, "nfs", 1000);
  return {
    format: 1,
    started: "2026-01-02T03:04:05.000Z",
    kernel: "Linux",
    processors: 1,
    quick: true,
    sides: [
      { name: "nfs", title: "lazy" },
      { name: "fuse", title: "<FUSE>" },
      { name: "local", title: "tmpfs" },
    ],
    scenarios: [{ name: "build", question: "How long?" }],
    series: recorder.series,
    failures: ["build, cold, tmpfs: it was full"],
  };
}

test("a table has a row for each case, and a column for each side that has a value in it", () => {
  const [wall, calls] = tablesOf(results());
  assert.deepEqual(
    wall!.sides.map(({ name }) => name),
    ["nfs", "fuse"],
  );
  assert.deepEqual(
    wall!.rows[0]!.cells.map((cell) => cell!.values),
    [
      [1, 3, 2],
      [2, 6, 4],
    ],
  );
  assert.deepEqual(
    calls!.sides.map(({ name }) => name),
    ["nfs"],
  );
});

test("on the terminal: medians, spreads, ratios to the first side, runs and failures", () => {
  const report = terminalReport(results());
  assert.match(report, /cold +2\.00 \(1\.00–3\.00\) +4\.00 \(2\.00–6\.00\) +2\.0×/);
  assert.match(report, /cold +1000\n/);
  assert.match(report, /Medians of 1 to 3 run\(s\)/);
  assert.match(report, /FAILED: build, cold, tmpfs: it was full/);
});

test("beside an earlier run, ratios are to that", () => {
  assert.match(
    terminalReport(results(3), results()),
    /6\.00 \(3\.00–9\.00\) +3\.0× +12\.00 \(6\.00–18\.00\) +3\.0×/,
  );
});

test("the page has everything in it, needs nothing else, and shows names as text", () => {
  const page = htmlReport(results());
  assert.match(page, /&#60;FUSE&#62;/);
  assert.doesNotMatch(page, /<FUSE>|src=|href=|url\(/);
  assert.match(page, /4\.00 \(2\.00–6\.00\) <b>2\.0×<\/b>\s*<small>3&nbsp;runs/);
  assert.match(page, /it was full/);
});

test("ratios have two significant digits", () => {
  assert.deepEqual([0.034, 1, 12.4, 123.4].map(formatRatio), ["0.034×", "1.0×", "12×", "123×"]);
});
