import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

const module = join(import.meta.dirname, "../../../src/telemetry/log-files.ts");

/** Waits for its input to end, and then logs to standard error and to its arguments. */
const PROGRAM = `
  const { logToFiles } = await import(${JSON.stringify(module)});
  const log = logToFiles(process.argv.slice(1), { level: "info", format: "text" });
  process.on("uncaughtException", (error) => log.error("a fault", { error }));
  console.log("ready");
  for await (const _ of process.stdin);
  log.info("first");
  await new Promise(setImmediate);
  log.info("second");
`;

describe("a log in files", () => {
  it("goes on when nobody reads standard error any more, and when a file cannot be written", async () => {
    const folder = mkdtempSync(join(tmpdir(), "log-files-"));
    try {
      const path = join(folder, "log");
      const args = ["--input-type=module", "--eval", PROGRAM, "/dev/full", path];
      const child = spawn(process.execPath, args, { stdio: "pipe" });
      await once(child.stdout, "data");
      child.stderr.destroy();
      await once(child.stderr, "close");
      child.stdin.end();
      assert.deepEqual(await once(child, "exit"), [0, null]);
      assert.match(readFileSync(path, "utf8"), /^\S+ info first\n\S+ info second\n$/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
