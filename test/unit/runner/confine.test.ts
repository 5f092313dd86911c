import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it, type TestContext } from "node:test";
import {
  CAPABILITIES,
  type Capability,
  SYSTEM_CALLS,
  type SystemCalls,
} from "../../../src/config/bb-runner/confinement.ts";
import { KEPT_CAPABILITIES } from "../../../src/runner/hold.ts";
import type { Command, Hold } from "../../../src/runner/spawn/command.ts";
import { canIsolate, chrootedHold, defaultHold } from "./default-hold.ts";
import { makeBuildDirectory } from "./root-file-system.ts";
import { spawner } from "./spawner.ts";

const whenIsolated = canIsolate ? {} : { skip: "needs CAP_SYS_ADMIN" };

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

/** What the program says of a subject, in an input root that has only it. */
async function askIn(buildDirectory: string, subject: string, changes: Partial<Command> = {}) {
  const root = join(buildDirectory, "root");
  mkdirSync(root, { recursive: true });
  copyFileSync(program, join(root, "action"));
  chmodSync(join(root, "action"), 0o4755);
  const { exitCode } = await spawner.run({
    buildDirectory,
    inputRootDirectory: "root",
    workingDirectory: "",
    stdoutPath: "stdout",
    stderrPath: "stderr",
    temporaryDirectory: "",
    cgroup: undefined,
    hold: chrootedHold,
    maximumProcessesOfUser: undefined,
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

for (const [kind, hold] of Object.entries({ chrooted: chrootedHold, "not chrooted": defaultHold })) {
  const action = kind === "chrooted" ? "/action" : "./action";
  /** As above, held in this way. */
  const ask = (
    test: TestContext,
    subject: string,
    { widened = {}, ...changes }: Partial<Command> & { widened?: Partial<Hold> } = {},
  ) => {
    const buildDirectory = makeBuildDirectory(test);
    chmodSync(buildDirectory, 0o755);
    const held = { ...hold, ...widened };
    return askIn(buildDirectory, subject, { hold: held, arguments: [action, subject], ...changes });
  };
  const credentials = { userId: 1234, groupId: 2345, additionalGroupIds: [] };

  describe(`a command that is ${kind}`, { ...whenIsolated, timeout: 60_000 }, () => {
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
      const { uid, effective, bounding } = await ask(test, "capabilities", { credentials });
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

    it("cannot reach the first process of its PID namespace, the helper's", async (test) => {
      const { comm, ...answers } = await askInProc(test, "parent", action, hold);
      assert.equal(comm, "bb_spawn");
      assert.ok(Object.keys(answers).length > 5);
      assert.deepEqual(answers, all(answers, "EACCES"));
    });

    it("can neither change the machine by files, nor learn its secrets", async (test) => {
      const changed = await askInProc(test, "machine", action, hold);
      assert.ok(Object.keys(changed).length >= (kind === "chrooted" ? 2 : 6));
      assert.deepEqual(changed, all(changed, "EROFS"));
      const secrets = await askInProc(test, "secrets", action, hold);
      assert.ok(Object.keys(secrets).length >= 3);
      assert.deepEqual(secrets, all(secrets, "0"));
    });

    it("gets each group of system calls by its name", async (test) => {
      const groups: Record<string, readonly SystemCalls[]> = {
        bpf: ["bpf"],
        perf_event_open: ["perf"],
        userfaultfd: ["userfaultfd"],
        io_uring_setup: ["ioUring"],
        io_uring_enter: ["ioUring"],
        open_by_handle_at: ["openByHandle"],
        keyctl: ["keys"],
        add_key: ["keys"],
        "x32 getpid": ["foreignAbi"],
        "i386 getpid": ["foreignAbi"],
        fsopen: ["mount"],
        open_tree: ["mount"],
        setns: ["setns"],
        adjtimex: ["clock"],
        syslog: ["kernelLog"],
        vsock: ["vsock"],
        "clone user": ["userNamespaces"],
        "unshare user": ["userNamespaces"],
        "unshare user and mount": ["userNamespaces"],
      };
      const refused = await ask(test, "filtered");
      const names = [...new Set(Object.values(groups).flat())];
      for (const name of names) {
        const answers = await ask(test, "filtered", { widened: { systemCalls: [name] } });
        const changed = Object.keys(answers).filter(
          (call) => answers[call] !== refused[call] && call !== "clone3",
        );
        const others = changed.filter((call) => !groups[call]?.includes(name));
        assert.deepEqual(others, [], name);
      }
      const withAll = await ask(test, "filtered", {
        widened: { systemCalls: SYSTEM_CALLS, capabilities: Object.keys(CAPABILITIES) as Capability[] },
      });
      const still = Object.keys(withAll).filter((call) => withAll[call] === "EPERM");
      assert.deepEqual(still, []);
    });

    it("gets a capability by its name", async (test) => {
      const widened = { capabilities: [...KEPT_CAPABILITIES, "MKNOD"] as const };
      const { bounding } = await ask(test, "capabilities", { widened });
      assert.equal(bounding, (BigInt(`0x${keptMask}`) | (1n << 27n)).toString(16));
      const answers = await ask(test, "barred", { widened });
      assert.deepEqual([answers["mknod mem"], answers["mount proc"]], ["0", "EPERM"]);
    });
  });
}

/** As askIn, in a root that has a place for /proc. */
async function askInProc(test: TestContext, subject: string, action: string, hold: Hold) {
  const buildDirectory = makeBuildDirectory(test);
  mkdirSync(join(buildDirectory, "root/proc"), { recursive: true });
  return askIn(buildDirectory, subject, { hold, arguments: [action, subject] });
}

describe("a chrooted command", { ...whenIsolated, timeout: 60_000 }, () => {
  it("cannot reach the helper, not even where the machine's /proc shows it", async (test) => {
    const buildDirectory = makeBuildDirectory(test);
    const proc = join(buildDirectory, "root/proc");
    mkdirSync(proc, { recursive: true });
    execFileSync("mount", ["-t", "proc", "proc", proc]);
    try {
      const hold = { ...chrootedHold, mountProc: false };
      const { comm, ...answers } = await askIn(buildDirectory, "parent", { hold });
      assert.equal(comm, "bb_spawn");
      assert.ok(Object.keys(answers).length > 5);
      assert.deepEqual(answers, all(answers, "EACCES"));
    } finally {
      execFileSync("umount", [proc]);
    }
  });
});
