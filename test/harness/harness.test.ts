import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, describe, it } from "node:test";

const launcher = path.resolve(import.meta.dirname, "../../src/in-kernel/main.ts");
const scratch = mkdtempSync(path.join(tmpdir(), "harness-"));
after(() => rmSync(scratch, { recursive: true }));

function inKernel(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const env = { ...process.env, ODD_VALUE: "a b\nc'\"$ü" };
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [launcher, ...args],
      { cwd: scratch, env },
      (_, stdout, stderr) => resolve({ status: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

describe("in-kernel", { concurrency: 2 }, () => {
  it("runs a command beside an NFS client: arguments, environment, output, folder, status", async () => {
    const odd = ["two words", "two\nlines", "ünï€", "", "--help", "$HOME `x` \"'\\"];
    writeFileSync(
      path.join(scratch, "probe.cjs"),
      `const fs = require("node:fs");
      fs.writeFileSync(process.env.IN_KERNEL_OUT + "/kept", "kept");
      fs.writeFileSync("probe.left", "");
      const nfs4 = fs.readFileSync("/proc/filesystems", "utf8").includes("\\tnfs4\\n");
      const { ODD_VALUE, IN_KERNEL } = process.env;
      console.log(JSON.stringify({ args: process.argv.slice(2), ODD_VALUE, IN_KERNEL, cwd: process.cwd(), nfs4 }));
      console.error("to stderr");
      process.exitCode = 7;`,
    );
    const out = path.join(scratch, "out");
    const run = await inKernel("--uml", "--quiet", "--out", out, process.execPath, "probe.cjs", ...odd);
    assert.equal(run.stderr, "to stderr\n");
    assert.deepEqual(JSON.parse(run.stdout), {
      args: odd,
      ODD_VALUE: "a b\nc'\"$ü",
      IN_KERNEL: "uml",
      cwd: scratch,
      nfs4: true,
    });
    assert.equal(run.status, 7);
    assert.equal(readFileSync(path.join(out, "kept"), "utf8"), "kept");
    assert.ok(!existsSync(path.join(scratch, "probe.left")), "wrote to the host");
  });

  it("loses no byte of a long output", async () => {
    const run = await inKernel("--uml", "--quiet", "--", "seq", "100000");
    const expected = Array.from({ length: 100000 }, (_, i) => `${i + 1}\n`).join("");
    assert.ok(run.stdout === expected, `${run.stdout.length} bytes instead of ${expected.length}`);
  });

  it("ends a hung command with status 124 and the kernel's log", async () => {
    const run = await inKernel("--uml", "--timeout", "5", "sleep", "1000");
    assert.equal(run.status, 124);
    assert.match(run.stderr, /no end after 5 s; the kernel's log ends:\n.*hung: pid \d+ S sleep 1000/s);
  });

  it("reports a kernel's crash with its log", async () => {
    const run = await inKernel("--uml", "sh", "-c", "echo c > /proc/sysrq-trigger");
    assert.equal(run.status, 125);
    assert.match(run.stderr, /Kernel panic - not syncing: sysrq triggered crash/);
  });

  it("says what a wrong option should have been", async () => {
    const run = await inKernel("--memory", "lots", "true");
    assert.equal(run.status, 125);
    assert.match(run.stderr, /--memory lots: expected such as 512M or 4G/);
  });
});
