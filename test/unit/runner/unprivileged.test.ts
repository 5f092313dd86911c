import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { promisify } from "node:util";
import type { Command, Hold } from "../../../src/runner/spawn/command.ts";
import { defaultHold } from "./default-hold.ts";
import { makeBuildDirectory } from "./root-file-system.ts";

const asRoot =
  process.getuid?.() === 0 ? { timeout: 60_000 } : { skip: "needs root, to become another user" };
const user = 1234;
const unprivileged: Hold = { ...defaultHold, isolated: false };

/** Has a runner of another user without capabilities do something with a `spawner`; returns what it says. */
async function asUser(script: string): Promise<string> {
  const imported = JSON.stringify(import.meta.resolve("../../../src/runner/spawn/spawner.ts"));
  const program = `import { Spawner } from ${imported}; await using spawner = new Spawner(); ${script}`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program], {
    uid: user,
    gid: user,
    cwd: "/",
    encoding: "utf8",
  });
  return stdout;
}

/** What a shell script says, run by such a runner, which does something with `command` before. */
async function output(
  test: TestContext,
  script: string,
  changes: Partial<Command> = {},
  before = "",
): Promise<string> {
  const buildDirectory = makeBuildDirectory(test);
  mkdirSync(join(buildDirectory, "root"));
  for (const path of [buildDirectory, join(buildDirectory, "root")]) {
    chownSync(path, user, user);
  }
  const command: Command = {
    hold: unprivileged,
    buildDirectory,
    inputRootDirectory: "root",
    temporaryDirectory: "",
    workingDirectory: "",
    stdoutPath: "stdout",
    stderrPath: "stderr",
    cgroup: undefined,
    credentials: undefined,
    limits: [],
    maximumProcessesOfUser: undefined,
    arguments: ["/bin/sh", "-c", script],
    environment: { PATH: "/usr/bin:/bin" },
    ...changes,
  };
  await asUser(`const command = ${JSON.stringify(command)}; ${before} await spawner.run(command);`);
  return readFileSync(join(buildDirectory, "stdout"), "utf8");
}

const held = "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | cut -f2";
/** As root if set-user-ID programs work. */
const privileges = (program: string) => `${program} -u`;

describe("a command of a runner without privileges", asRoot, () => {
  it("has the filter of system calls, at the price of set-user-ID programs", async (test) => {
    const [newPrivileges, filter] = (await output(test, held)).split("\n");
    assert.deepEqual([newPrivileges, filter], ["1", "2"]);
    assert.equal(await output(test, "unshare --user true || echo refused"), "refused\n");
    const folder = makeBuildDirectory(test);
    chmodSync(folder, 0o755);
    const program = join(folder, "id");
    writeFileSync(program, readFileSync("/usr/bin/id"));
    chmodSync(program, 0o4755);
    assert.equal(await output(test, privileges(program)), `${user}\n`);
  });

  it("has those programs instead if it is told so", async (test) => {
    const hold: Hold = { ...unprivileged, newPrivileges: true };
    const [newPrivileges, filter] = (await output(test, held, { hold })).split("\n");
    assert.deepEqual([newPrivileges, filter], ["0", "0"]);
    const folder = makeBuildDirectory(test);
    chmodSync(folder, 0o755);
    const program = join(folder, "id");
    writeFileSync(program, readFileSync("/usr/bin/id"));
    chmodSync(program, 0o4755);
    assert.equal(await output(test, privileges(program), { hold }), "0\n");
  });

  it("is bound in the number of its user's processes", async (test) => {
    const limit = await output(test, "grep '^Max processes' /proc/self/limits", {
      maximumProcessesOfUser: 77,
    });
    assert.match(limit, /^Max processes +77 +77 /);
  });

  it("reaches neither the helper nor the runner in /proc", async (test) => {
    const trying =
      "cat /proc/$PPID/environ 2>/dev/null || echo held; ls /proc/$RUNNER/fd >/dev/null 2>&1 || echo held";
    const imported = JSON.stringify(import.meta.resolve("../../../src/runner/untraceable.ts"));
    const forbid = `(await import(${imported})).forbidTracing(); command.environment.RUNNER = String(process.pid);`;
    assert.equal(await output(test, trying, {}, forbid), "held\nheld\n");
    assert.equal(
      await output(test, trying, {}, "command.environment.RUNNER = String(process.pid);"),
      "held\n",
    );
  });

  it("is less than could be, and the helper says why", async () => {
    const probe = (hold: Hold) =>
      asUser(`console.log((await spawner.probe(${JSON.stringify(hold)})).join("|"));`);
    assert.match(await probe(unprivileged), /^without CAP_SYS_ADMIN, set-user-ID programs run as whoever/);
    assert.match(
      await probe({ ...unprivileged, newPrivileges: true }),
      /exclude each other\|without CAP_SETPCAP/,
    );
    const refused = asUser(`await spawner.probe(${JSON.stringify({ ...unprivileged, isolated: true })});`);
    await assert.rejects(refused, /isolation "unshare": Operation not permitted/);
  });
});
