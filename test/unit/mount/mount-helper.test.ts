import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout } from "node:timers/promises";
import { MountHelper } from "../../../src/mount/mount-helper.ts";
import { isMounted } from "../../../src/mount/mount-table.ts";

/** Where the number of the next process can be chosen. */
const lastPid = "/proc/sys/kernel/ns_last_pid";
const asRoot = process.getuid?.() === 0 && existsSync(lastPid) ? {} : { skip: `needs root, and ${lastPid}` };

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ").filter(Boolean).map(Number);
}

/** Once it has just one, and that is not `former`. */
async function onlyChildOf(pid: number, former: number): Promise<number> {
  for (;;) {
    const [child, ...more] = childrenOf(pid);
    if (child !== undefined && child !== former && more.length === 0) {
      return child;
    }
    await setTimeout(1);
  }
}

/** Of a process that may open and close others meanwhile. */
function openFiles(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return [];
    }
  });
}

function helperProcess(): number {
  const tasks = readdirSync("/proc/self/task");
  const children = tasks.flatMap((task) =>
    readFileSync(`/proc/self/task/${task}/children`, "latin1").split(" ").filter(Boolean),
  );
  const helper = children.find((pid) => readFileSync(`/proc/${pid}/comm`, "latin1") === "bb_mount\n");
  assert.ok(helper);
  return Number(helper);
}

describe("a supervised mount", { ...asRoot, timeout: 30_000 }, () => {
  it("gets a new anchor when that is killed, whose number is then nobody's of ours", async (test) => {
    const target = mkdtempSync(join(tmpdir(), "mount-helper-"));
    const helper = new MountHelper();
    test.after(async () => {
      await helper.close();
      rmdirSync(target);
    });
    const { error, mountId } = await helper.mount({
      source: "none",
      target,
      type: "tmpfs",
      flags: 0,
      data: "",
      supervised: true,
    });
    if (error === "EPERM") {
      return test.skip("may not mount");
    }
    assert.equal(error, "");
    assert.ok(isMounted(target));
    const supervisor = helperProcess();
    const anchor = await onlyChildOf(supervisor, 0);
    process.kill(anchor, "SIGKILL");
    await onlyChildOf(supervisor, anchor);
    // Other processes may be started between these two lines.
    let innocent = spawn("true");
    for (let tries = 0; innocent.pid !== anchor && tries < 200; tries++) {
      innocent.kill("SIGKILL");
      writeFileSync(lastPid, String(anchor - 1));
      innocent = spawn("sleep", ["1000"]);
    }
    test.after(() => innocent.kill("SIGKILL"));
    assert.equal(innocent.pid, anchor);
    const killed = once(innocent, "exit").then(() => "killed");
    assert.equal(await helper.unmount({ target, mountId }), "");
    assert.ok(!isMounted(target));
    assert.equal(await Promise.race([killed, setTimeout(100, "alive")]), "alive");
  });

  it("is left alone when another ID is named", async (test) => {
    // What /proc/self/mountinfo has escapes for.
    const target = mkdtempSync(join(tmpdir(), "mount helper\t\n\\040#-"));
    const helper = new MountHelper();
    test.after(async () => {
      await helper.close();
      rmdirSync(target);
    });
    const mount = { source: "none", target, type: "tmpfs", flags: 0, data: "", supervised: true };
    const below = await helper.mount(mount);
    if (below.error === "EPERM") {
      return test.skip("may not mount");
    }
    const above = await helper.mount(mount);
    const at = (mountId: number) => ({ target, mountId });
    for (const call of ["sync", "statfs", "look", "unmount", "forceUnmount"] as const) {
      assert.equal(await helper[call](at(below.mountId)), "EBUSY");
      assert.equal(await helper[call](at(2 ** 31 - 1)), "ENOENT");
    }
    for (const { mountId } of [above, below]) {
      assert.equal(await helper.sync(at(mountId)), "");
      assert.equal(await helper.statfs(at(mountId)), "");
      assert.equal(await helper.look(at(mountId)), "");
      assert.equal(await helper.unmount(at(mountId)), "");
      assert.equal(await helper.forceUnmount(at(mountId)), "ENOENT");
    }
    assert.ok(!isMounted(target));
  });
});

describe("the process that looks at a mount", { ...asRoot, timeout: 30_000 }, () => {
  it("looks once at a time, and is replaced when it was killed", async (test) => {
    const target = mkdtempSync(join(tmpdir(), "mount-helper-"));
    const helper = new MountHelper();
    test.after(async () => {
      await helper.close();
      rmdirSync(target);
    });
    const mount = { source: "none", target, type: "tmpfs", flags: 0, data: "", supervised: true };
    const { error, mountId } = await helper.mount(mount);
    if (error === "EPERM") {
      return test.skip("may not mount");
    }
    const at = { target, mountId };
    const supervisor = helperProcess();
    const anchor = await onlyChildOf(supervisor, 0);
    const findLooker = () => childrenOf(supervisor).find((child) => child !== anchor)!;
    assert.equal(await helper.look(at), "");
    const looker = findLooker();
    process.kill(looker, "SIGSTOP");
    const looks = [helper.look(at), helper.look(at)];
    assert.equal(await looks[1], "EAGAIN");
    process.kill(looker, "SIGKILL");
    assert.equal(await looks[0], "EINTR");
    assert.equal(await helper.look(at), "");
    assert.notEqual(findLooker(), looker);
    assert.equal(await helper.unmount(at), "", "it keeps nothing in use");
  });
});

describe("a supervised mount that somebody else has unmounted", { ...asRoot, timeout: 30_000 }, () => {
  it("is not kept in use", async (test) => {
    const target = mkdtempSync(join(tmpdir(), "mount-helper-"));
    const helper = new MountHelper();
    test.after(async () => {
      await helper.close();
      rmdirSync(target);
    });
    const mount = { source: "none", target, type: "tmpfs", flags: 0, data: "", supervised: true };
    const { error, mountId } = await helper.mount(mount);
    if (error === "EPERM") {
      return test.skip("may not mount");
    }
    const supervisor = helperProcess();
    const [anchor = 0] = childrenOf(supervisor);
    while (readlinkSync(`/proc/${anchor}/cwd`) !== target) {
      await setTimeout(1);
    }
    execFileSync("umount", ["--lazy", target]);
    while (childrenOf(supervisor).length > 0) {
      await setTimeout(1);
    }
    assert.equal(await helper.unmount({ target, mountId }), "ENOENT");
  });
});

describe("a lock", { timeout: 30_000 }, () => {
  it("is one helper's until that ends, however it does, and says whose it is", async (test) => {
    const folder = mkdtempSync(join(tmpdir(), "mount-helper-"));
    test.after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, "lock");
    const first = new MountHelper();
    test.after(() => first.close());
    assert.equal(await first.lock(file, "the first, with a longer name"), "");
    const supervisor = helperProcess();
    const second = new MountHelper();
    test.after(() => second.close());
    assert.equal(await second.lock(file, "the second"), "EAGAIN");
    assert.equal(readFileSync(file, "utf8"), "the first, with a longer name");
    process.kill(supervisor, "SIGKILL");
    assert.match((await first.failure).message, /SIGKILL/);
    assert.equal(await second.lock(file, "the second"), "");
    assert.equal(readFileSync(file, "utf8"), "the second");
  });

  it("cannot be taken by another user", asRoot, async (test) => {
    const folder = mkdtempSync(join(tmpdir(), "mount-helper-"));
    test.after(() => rmSync(folder, { recursive: true }));
    chmodSync(folder, 0o755);
    const file = join(folder, "lock");
    const helper = new MountHelper();
    assert.equal(await helper.lock(file, "holder"), "");
    await helper.close();
    const flock = ["--reuid", "61234", "--clear-groups", "flock", "--nonblock", file, "true"];
    const { status, stderr } = spawnSync("setpriv", flock, { encoding: "utf8" });
    assert.notEqual(status, 0);
    assert.match(stderr, /Permission denied/);
  });

  it("does not outlast its helper by what that has started", asRoot, async (test) => {
    const folder = mkdtempSync(join(tmpdir(), "mount-helper-"));
    test.after(() => rmSync(folder, { recursive: true }));
    const helper = new MountHelper();
    test.after(() => helper.close());
    const file = join(folder, "lock");
    assert.equal(await helper.lock(file, "holder"), "");
    const supervisor = helperProcess();
    const mount = { source: "none", target: folder, type: "tmpfs", flags: 0, data: "", supervised: true };
    const { error, mountId } = await helper.mount(mount);
    if (error === "EPERM") {
      return test.skip("may not mount");
    }
    const [anchor = 0] = childrenOf(supervisor);
    // It has closed what it inherited by then.
    while (readlinkSync(`/proc/${anchor}/cwd`) !== folder) {
      await setTimeout(1);
    }
    assert.ok(!openFiles(anchor).includes(file), String(openFiles(anchor)));
    assert.equal(await helper.unmount({ target: folder, mountId }), "");
  });

  it("that cannot be taken is an errno", async (test) => {
    const helper = new MountHelper();
    test.after(() => helper.close());
    assert.equal(await helper.lock("/nonexistent/lock", "x"), "ENOENT");
    assert.equal(await helper.lock("/proc", "x"), "EISDIR");
  });
});
