import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createLog } from "../../../src/telemetry/log.ts";

describe("the log", () => {
  it("writes one line per message, whatever is in it", () => {
    const lines: string[] = [];
    const log = createLog("info", (line) => lines.push(line)).with({ worker: "w1" });
    log.debug("unseen");
    log.warn("two\nlines", {
      count: 3,
      size: 5n,
      absent: undefined,
      name: 'a "b"',
      error: new Error("x\ny"),
      list: [1],
    });
    assert.equal(lines.length, 1);
    assert.match(
      lines[0] ?? "",
      /^\d{4}-\d\d-\d\dT[\d:.]+Z warn "two\\nlines" worker=w1 count=3 size=5 name="a \\"b\\"" error="x\\ny" list=\[1\]\n$/,
    );
  });
});
