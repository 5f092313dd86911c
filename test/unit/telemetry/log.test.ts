import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createLog } from "../../../src/telemetry/log.ts";
import { logSettings } from "../../../src/telemetry/log-settings.ts";

describe("the log", () => {
  it("as JSON has an object a line, with what could look like something else escaped", () => {
    const lines: string[] = [];
    const log = createLog("warn", (line) => lines.push(line), "json").with({ worker: "w1" });
    log.info("unseen");
    log.error("two\nlines", { size: 5n, error: new Error("x\u202ey"), absent: undefined, list: [1n] });
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /^[\x20-\x7e]*\n$/);
    const { time, ...rest } = JSON.parse(lines[0]!) as Record<string, unknown>;
    assert.ok(!Number.isNaN(Date.parse(String(time))));
    assert.deepEqual(rest, {
      level: "error",
      message: "two\nlines",
      worker: "w1",
      size: "5",
      error: "x\u202ey",
      list: ["1"],
    });
  });

  it("is as the environment says, which may say nothing else", () => {
    assert.deepEqual(logSettings({}), { level: "info", format: "text" });
    assert.deepEqual(logSettings({ BB_LOG_LEVEL: "debug", BB_LOG_FORMAT: "json" }), {
      level: "debug",
      format: "json",
    });
    assert.throws(
      () => logSettings({ BB_LOG_LEVEL: "loud" }),
      /BB_LOG_LEVEL is "loud": give one of debug, info/,
    );
    assert.throws(
      () => logSettings({ BB_LOG_FORMAT: "xml" }),
      /BB_LOG_FORMAT is "xml": give one of text, json/,
    );
  });

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
