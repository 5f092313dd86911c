import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { makeReport, replaceReport, toMarkdown } from "../../conformance/report.ts";
import { KeptResults } from "../../conformance/results.ts";
import type { Result } from "../../conformance/suite.ts";
import type { Target } from "../../conformance/targets.ts";

const MEMORY: Target = { fileSystem: "memory", version: "4.1" };
const TREE: Target = { fileSystem: "tree", version: "4.1" };
const TMPFS: Target = { fileSystem: "tmpfs", version: "" };

function passed(test: string): Result {
  return { test, outcome: "passed" };
}

function failed(test: string): Result {
  return { test, outcome: "failed", note: "wrong" };
}

describe("the report of conformance", () => {
  const folders: string[] = [];
  after(() => {
    for (const folder of folders) {
      rmSync(folder, { recursive: true });
    }
  });

  function keep(...runs: [Target, ...Result[]][]): KeptResults {
    const folder = mkdtempSync(join(tmpdir(), "conformance-report-"));
    folders.push(folder);
    const kept = new KeptResults(folder);
    for (const [target, ...results] of runs) {
      kept.add("suite", target, [{ name: "case", results }], { first: "case" });
    }
    return kept;
  }

  it("counts as a difference what fails here and passes there, and nothing else", () => {
    const kept = keep(
      [MEMORY, passed("a"), failed("b"), failed("c")],
      [TREE, failed("a"), failed("b"), failed("c")],
      [TMPFS, passed("a"), passed("b"), failed("c")],
    );
    const { rows, differences } = makeReport(["suite"], kept);
    assert.deepEqual(rows[1], ["suite", "4.1", "1 / 2 / 0", "0 / 3 / 0", "–", "–", "2 / 1 / 0", "2"]);
    assert.deepEqual(
      differences.map(({ test, failsOn }) => [test, failsOn]),
      [
        ["b", ["memory 4.1", "tree 4.1"]],
        ["a", ["tree 4.1"]],
      ],
    );
  });

  it("counts every failure where nothing is there to compare with", () => {
    const { differences } = makeReport(["suite"], keep([MEMORY, failed("a")]));
    assert.equal(differences.length, 1);
  });

  it("counts what the server found wrong at its end, until that case ran without it", () => {
    const kept = keep([MEMORY, passed("a")], [TMPFS, passed("a")]);
    kept.add("suite", MEMORY, [{ name: "case", results: [passed("a")] }], {
      first: "case",
      failure: "a fault",
    });
    const [difference] = makeReport(["suite"], kept).differences;
    assert.equal(difference?.note, "a fault");
    kept.add("suite", MEMORY, [{ name: "case", results: [passed("a")] }], { first: "case" });
    assert.deepEqual(makeReport(["suite"], kept).differences, []);
  });

  it("is put between the markers of a document, again and again", () => {
    const begin = "<!-- npm run conformance -- --write: begin -->";
    const end = "<!-- npm run conformance -- --write: end -->";
    const document = `before\n${begin}\nold\n${end}\nafter\n`;
    const markdown = toMarkdown(makeReport(["suite"], keep([MEMORY, failed("a")])));
    const once = replaceReport(document, markdown);
    assert.match(once, /^before\n.*\| suite \| 4\.1 \| 0 \/ 1 \/ 0.*wrong.*\nafter\n$/s);
    assert.doesNotMatch(once, /old/);
    assert.equal(replaceReport(once, markdown), once);
    assert.throws(() => replaceReport("no markers", markdown), /needs the lines/);
  });
});
