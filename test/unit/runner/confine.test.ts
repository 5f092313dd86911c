import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it, type TestContext } from "node:test";
import { type Command, isolationFailure, runCommand } from "../../../src/runner/command.ts";
import { makeBuildDirectory } from "./root-file-system.ts";

const whenIsolated = (await isolationFailure()) === undefined ? {} : { skip: "needs CAP_SYS_ADMIN" };

/** The numbers of capabilities(7) that a command keeps, as linux/capability.h has them. */
const KEPT = {
  CHOWN: 0,
  DAC_OVERRIDE: 1,
  FOWNER: 3,
  FSETID: 4,
  KILL: 5,
  SETGID: 6,
  SETUID: 7,
  SETPCAP: 8,
  NET_BIND_SERVICE: 10,
  SYS_CHROOT: 18,
  AUDIT_WRITE: 29,
  SETFCAP: 31,
};
const keptMask = Object.values(KEPT)
  .reduce((mask, capability) => mask | (1n << BigInt(capability)), 0n)
  .toString(16);

let folder: string;
let program: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "confined-action-"));
  program = join(folder, "action");
  const source = join(import.meta.dirname, "confined-action.c");
  execFileSync("cc", ["-static", "-Wall", "-Wextra", "-Werror", "-o", program, source]);
});
after(() => rmSync(folder, { recursive: true }));

/** What the program says of a subject, chrooted in an input root that has only it. */
async function ask(test: TestContext, subject: string, changes: Partial<Command> = {}) {
  const buildDirectory = makeBuildDirectory(test);
  return askIn(buildDirectory, subject, changes);
}

async function askIn(buildDirectory: string, subject: string, changes: Partial<Command> = {}) {
  const root = join(buildDirectory, "root");
  mkdirSync(root, { recursive: true });
  copyFileSync(program, join(root, "action"));
  chmodSync(join(root, "action"), 0o4755);
  const { exitCode } = await runCommand({
    buildDirectory,
    inputRootDirectory: "root",
    workingDirectory: "",
    stdoutPath: "stdout",
    stderrPath: "stderr",
    isolated: true,
    chrootIntoInputRoot: true,
    credentials: undefined,
    limits: [],
    arguments: ["/action", subject],
    environment: {},
    ...changes,
  });
  assert.equal(readFileSync(join(buildDirectory, "stderr"), "utf8"), "");
  assert.equal(exitCode, 0);
  const lines = readFileSync(join(buildDirectory, "stdout"), "utf8").trimEnd().split("\n");
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), line.slice(line.lastIndexOf(" ") + 1)]),
  );
}

/** A copy whose every value is `value`. */
const all = (answers: Record<string, string>, value: string) =>
  Object.fromEntries(Object.keys(answers).map((name) => [name, value]));

describe("a chrooted command", { ...whenIsolated, timeout: 60_000 }, () => {
  it("of root has the capabilities that a package manager needs, and can gain no others", async (test) => {
    assert.deepEqual(await ask(test, "capabilities"), {
      uid: "0",
      effective: keptMask,
      permitted: keptMask,
      inheritable: "0",
      bounding: keptMask,
      ambient: "0",
    });
  });

  it("of another user gets no more from a set-user-ID program of root", async (test) => {
    const buildDirectory = makeBuildDirectory(test);
    chmodSync(buildDirectory, 0o755);
    const credentials = { userId: 1234, groupId: 2345, additionalGroupIds: [] };
    const { uid, effective, bounding } = await askIn(buildDirectory, "capabilities", { credentials });
    assert.deepEqual({ uid, effective, bounding }, { uid: "0", effective: keptMask, bounding: keptMask });
  });

  it("cannot mount, make devices, or change the machine's name and time", async (test) => {
    const answers = await ask(test, "barred");
    assert.ok(Object.keys(answers).length >= 10);
    assert.deepEqual(answers, all(answers, "EPERM"));
  });

  it("cannot become root of a user namespace, nor use what leads into the kernel", async (test) => {
    const { clone3, ...answers } = await ask(test, "filtered");
    assert.ok(Object.keys(answers).length > 15);
    assert.deepEqual(answers, all(answers, "EPERM"));
    // C libraries then take clone(2), whose flags a filter can see.
    assert.equal(clone3, "ENOSYS");
  });

  it("can do what unpacking a root file system needs", async (test) => {
    const answers = await ask(test, "allowed");
    assert.ok(Object.keys(answers).length > 10);
    assert.deepEqual(answers, all(answers, "0"));
  });

  it("cannot reach the helper, not even where /proc shows it", async (test) => {
    const buildDirectory = makeBuildDirectory(test);
    const proc = join(buildDirectory, "root/proc");
    mkdirSync(proc, { recursive: true });
    execFileSync("mount", ["-t", "proc", "proc", proc]);
    try {
      const { comm, ...answers } = await askIn(buildDirectory, "parent");
      assert.equal(comm, "bb_spawn");
      assert.ok(Object.keys(answers).length > 5);
      assert.deepEqual(answers, all(answers, "EACCES"));
    } finally {
      execFileSync("umount", [proc]);
    }
  });
});

describe("a command that is not chrooted", { ...whenIsolated, timeout: 60_000 }, () => {
  it("keeps the runner's capabilities", async (test) => {
    const status = readFileSync("/proc/self/status", "latin1");
    const own = (name: string) => new RegExp(`^${name}:\\t0*(\\w+)$`, "m").exec(status)?.[1];
    const { effective, bounding } = await ask(test, "capabilities", {
      chrootIntoInputRoot: false,
      arguments: ["./action", "capabilities"],
    });
    assert.deepEqual({ effective, bounding }, { effective: own("CapEff"), bounding: own("CapBnd") });
  });
});
