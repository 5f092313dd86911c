import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { parseGroup, shorten } from "../../conformance/suites/ltp.ts";
import { parseSeekSanity } from "../../conformance/suites/seek-sanity.ts";
import { parseCheck } from "../../conformance/suites/xfstests.ts";
import { parseTap } from "../../conformance/tap.ts";

describe("TAP", () => {
  it("tells passed, failed and skipped apart, and misses what was planned", () => {
    const output = `1..6
ok 1
not ok 2 - tried 'chmod x 0644', expected 0, got EPERM
not ok 3 # TODO not on this system
ok 4 # skip no such thing
ok 5 - fine
`;
    assert.deepEqual(parseTap(output, "a.t "), [
      { test: "a.t 1", outcome: "passed" },
      { test: "a.t 2", outcome: "failed", note: "tried 'chmod x 0644', expected 0, got EPERM" },
      { test: "a.t 3", outcome: "skipped", note: "# TODO not on this system" },
      { test: "a.t 4", outcome: "skipped", note: "# skip no such thing" },
      { test: "a.t 5", outcome: "passed" },
      { test: "a.t plan", outcome: "failed", note: "6 tests were planned, and 5 came" },
    ]);
  });

  it("has one result for each planned test, whatever else is said between", () => {
    const test = fc.record({
      passes: fc.boolean(),
      noise: fc.string().filter((text) => !/ok|1\.\./.test(text)),
    });
    fc.assert(
      fc.property(fc.array(test, { minLength: 1, maxLength: 50 }), (tests) => {
        const lines = tests.map(
          ({ passes, noise }, index) => `${noise}\n${passes ? "" : "not "}ok ${index + 1}`,
        );
        const results = parseTap(`1..${tests.length}\n${lines.join("\n")}\n`);
        assert.deepEqual(
          results.map(({ outcome }) => outcome),
          tests.map(({ passes }) => (passes ? "passed" : "failed")),
        );
      }),
    );
  });
});

describe("xfstests' check", () => {
  it("has a result for each test, with what differed", () => {
    const output = `FSTYP         -- nfs
PLATFORM      -- Linux/x86_64 localhost 6.1.176
generic/001 5s ...  6s
generic/002        [not run] needs a block device
generic/003       - output mismatch (see /tmp/x)
    --- tests/generic/003.out
    +++ /tmp/x
    @@ -1,2 +1,3 @@
     QA output created by 003
    +ERROR: access time has changed
    ...
    (Run 'diff -u x y'  to see the entire diff)
generic/004       [failed, exit status 1]- output mismatch (see /tmp/x)
    +open: Invalid argument
generic/005         1s
Ran: generic/001 generic/002 generic/003
Failures: generic/003
Failed 1 of 3 tests
`;
    assert.deepEqual(
      [...parseCheck(output).values()],
      [
        { test: "generic/001", outcome: "passed" },
        { test: "generic/002", outcome: "skipped", note: "needs a block device" },
        { test: "generic/003", outcome: "failed", note: "+ERROR: access time has changed" },
        { test: "generic/004", outcome: "failed", note: "+open: Invalid argument" },
        { test: "generic/005", outcome: "passed" },
      ],
    );
  });
});

describe("xfstests' seek_sanity_test", () => {
  it("has a result for each step", () => {
    const output = `File system supports the default behavior.

03. Test a large hole tests
03.01 SEEK_HOLE expected 0 or 0, got 0.                           succ
03.02 SEEK_DATA expected 524288 or 524288, got 0.                 FAIL
`;
    assert.deepEqual(parseSeekSanity(output), [
      { test: "03.01", outcome: "passed" },
      { test: "03.02", outcome: "failed", note: "SEEK_DATA expected 524288 or 524288, got 0." },
    ]);
  });
});

describe("LTP's groups", () => {
  it("are names with commands", () => {
    const group = parseGroup("#DESCRIPTION:Tests\n\nftest01 ftest01\nlftest01\tlftest -n 5\n# no test\n");
    assert.deepEqual(
      [...group],
      [
        ["ftest01", "ftest01"],
        ["lftest01", "lftest -n 5"],
      ],
    );
  });

  it("give durations that can be cut, and counts that cannot", () => {
    assert.equal(shorten("growfiles -e 1 -i 500 -L 120 -l -d X"), "growfiles -e 1 -i 500 -L 10 -l -d X");
    assert.equal(shorten("rwtest -c -q -i 60s -f sync 10%25000:X"), "rwtest -c -q -i 10s -f sync 10%25000:X");
    assert.equal(shorten("growfiles -L 5 -d X"), "growfiles -L 5 -d X");
  });
});
