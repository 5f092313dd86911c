import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { isMounted } from "../../../src/mount/mount-table.ts";
import { helperPath } from "../../../src/native/helper.ts";
import { encodeMessage, MessageDecoder } from "../../../src/native/message.ts";
import { HelperError } from "../../../src/runner/spawn/command.ts";
import { makeBuildDirectory } from "./root-file-system.ts";
import { spawner } from "./spawner.ts";

const asRoot = process.getuid?.() === 0 ? {} : { skip: "needs root" };
const { signal } = new AbortController();

/** Makes a chain of directories, deeper than any path can name, and a file in each hundredth. */
function makeDeepTree(path: string, depth: number): void {
  const program = `
    const { chdir } = process;
    const { mkdirSync, writeFileSync } = require("node:fs");
    chdir(${JSON.stringify(path)});
    for (let depth = 0; depth < ${depth}; depth++) {
      mkdirSync("d");
      if (depth % 100 === 0) writeFileSync("f", "");
      chdir("d");
    }`;
  execFileSync(process.execPath, ["--eval", program]);
}

/** What bb_spawn answers to a request as another user, with limits of prlimit(1). */
async function askAs(userId: number, limits: string[], ...request: string[]): Promise<string[] | undefined> {
  const user = ["setpriv", "--reuid", `${userId}`, "--clear-groups"];
  const helper = spawn("prlimit", [...limits, ...user, helperPath("bb_spawn")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  helper.stdin.write(encodeMessage([1, "begin", ...request]));
  const output: Buffer[] = [];
  helper.stdout.on("data", (chunk: Buffer) => {
    output.push(chunk);
    helper.stdin.end();
  });
  const [code, killedBy] = await once(helper, "close");
  assert.ok(output.length > 0, `no answer; exit status ${code}, signal ${killedBy}`);
  return new MessageDecoder().push(Buffer.concat(output))[0]?.slice(1);
}

describe("emptying a directory", { timeout: 120_000 }, () => {
  it("removes every name, and nothing that is linked to", async (test) => {
    const path = makeBuildDirectory(test);
    const kept = makeBuildDirectory(test);
    writeFileSync(join(kept, "file"), "");
    mkdirSync(join(path, "d/e"), { recursive: true });
    symlinkSync(kept, join(path, "d/link"));
    symlinkSync(kept, join(path, "link"));
    for (const folder of [path, join(path, "d/e")]) {
      writeFileSync(Buffer.concat([Buffer.from(`${folder}/a`), Buffer.from([0xff])]), "");
    }
    execFileSync("mkfifo", [join(path, "d/fifo")]);
    await spawner.emptyDirectory(path, signal);
    assert.deepEqual(readdirSync(path), []);
    assert.ok(existsSync(join(kept, "file")));
  });

  it("removes many entries", async (test) => {
    const path = makeBuildDirectory(test);
    for (let n = 0; n < 1000; n++) {
      writeFileSync(join(path, `${n}`), "");
    }
    for (let n = 0; n < 100; n++) {
      mkdirSync(join(path, `d${n}/e/f`), { recursive: true });
    }
    await spawner.emptyDirectory(path, signal);
    assert.deepEqual(readdirSync(path), []);
  });

  it("goes to any depth with few descriptors and little memory", asRoot, async (test) => {
    const path = makeBuildDirectory(test);
    makeDeepTree(path, 5000);
    chmodSync(path, 0o777);
    execFileSync("chown", ["-R", "--from=0", "61234", path]);
    const limits = ["--nofile=70", `--as=${64 * 2 ** 20}`];
    const reply = await askAs(61_234, limits, "empty", path);
    assert.deepEqual(reply?.slice(0, 2), ["exited", "0"]);
    assert.deepEqual(readdirSync(path), []);
  });

  it("removes what its owner has made unwritable and unreadable", asRoot, async (test) => {
    const path = makeBuildDirectory(test);
    for (const [name, mode] of [
      ["none", 0o000],
      ["unreadable", 0o300],
      ["unwritable", 0o500],
      ["unsearchable", 0o600],
    ] as const) {
      mkdirSync(join(path, name, "within"), { recursive: true });
      writeFileSync(join(path, name, "file"), "");
      execFileSync("chown", ["-R", "61234", join(path, name)]);
      chmodSync(join(path, name), mode);
    }
    chownSync(path, 61_234, 61_234);
    chmodSync(path, 0o000);
    const reply = await askAs(61_234, [], "empty", path);
    assert.deepEqual(reply?.slice(0, 2), ["exited", "0"], String(reply));
    assert.deepEqual(readdirSync(path), []);
  });

  it("names what it may not remove, and goes on beyond it", asRoot, async (test) => {
    const path = makeBuildDirectory(test);
    mkdirSync(join(path, "a/mine"), { recursive: true });
    for (const name of ["1", "a/mine/2", "z"]) {
      writeFileSync(join(path, name), "");
    }
    execFileSync("chown", ["-R", "61234", path]);
    chownSync(join(path, "a/mine"), 0, 0);
    const reply = await askAs(61_234, [], "empty", path);
    assert.deepEqual(reply, ["failed", "empty", "13", "Permission denied", `${path}/a/mine/2`]);
    assert.deepEqual(readdirSync(path), ["a"]);
  });

  it("removes immutable files and directories", asRoot, async (test) => {
    const path = makeBuildDirectory(test);
    const folder = join(path, "d");
    mkdirSync(folder);
    writeFileSync(join(folder, "immutable"), "");
    writeFileSync(join(folder, "append-only"), "");
    const flag = (...words: string[]) => spawnSync("chattr", words, { stdio: "ignore" }).status === 0;
    try {
      if (!flag("+i", join(folder, "immutable"))) {
        return test.skip("no chattr here");
      }
      assert.ok(flag("+a", join(folder, "append-only")) && flag("+i", folder) && flag("+a", path));
      await spawner.emptyDirectory(path, signal);
      assert.deepEqual(readdirSync(path), []);
    } finally {
      flag("-R", "-ia", path);
    }
  });

  it("unmounts, and leaves what was mounted as it is", asRoot, async (test) => {
    if (spawnSync("unshare", ["-m", "true"]).status !== 0) {
      return test.skip("may not mount");
    }
    const path = makeBuildDirectory(test);
    const elsewhere = makeBuildDirectory(test);
    writeFileSync(join(elsewhere, "kept"), "");
    const folder = join(path, "a/mount");
    mkdirSync(folder, { recursive: true });
    mkdirSync(join(path, "bound"));
    writeFileSync(join(path, "file"), "");
    for (const at of [folder, join(path, "bound")]) {
      execFileSync("mount", ["--bind", elsewhere, at]);
    }
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", folder]);
    execFileSync("mount", ["--bind", join(elsewhere, "kept"), join(path, "file")]);
    await spawner.emptyDirectory(path, signal);
    assert.ok(!isMounted(folder));
    assert.deepEqual(readdirSync(path), []);
    assert.equal(readFileSync(join(elsewhere, "kept"), "utf8"), "");
  });

  it("leaves the flags of what is mounted as they are", asRoot, async (test) => {
    if (spawnSync("unshare", ["-m", "true"]).status !== 0) {
      return test.skip("may not mount");
    }
    const path = makeBuildDirectory(test);
    const elsewhere = makeBuildDirectory(test);
    const kept = join(elsewhere, "kept");
    for (const file of [join(path, "file"), kept]) {
      writeFileSync(file, "");
    }
    const flag = (...words: string[]) => spawnSync("chattr", words, { stdio: "ignore" }).status === 0;
    execFileSync("mount", ["--bind", kept, join(path, "file")]);
    try {
      if (!flag("+i", kept)) {
        return test.skip("no chattr here");
      }
      assert.ok(flag("+i", path));
      await spawner.emptyDirectory(path, signal);
      assert.deepEqual(readdirSync(path), []);
      assert.match(execFileSync("lsattr", [kept], { encoding: "utf8" }), /^-*i/);
    } finally {
      spawnSync("umount", [join(path, "file")], { stdio: "ignore" });
      flag("-R", "-i", path, elsewhere);
    }
  });

  it("follows no symlink to it", async (test) => {
    const path = makeBuildDirectory(test);
    const kept = makeBuildDirectory(test);
    mkdirSync(join(kept, "directory/file"), { recursive: true });
    symlinkSync(kept, join(path, "link"));
    for (const name of ["link", "link/directory"]) {
      await assert.rejects(
        spawner.emptyDirectory(join(path, name), signal),
        (error: unknown) => error instanceof HelperError && error.code === "ELOOP",
      );
    }
    assert.deepEqual(readdirSync(join(kept, "directory")), ["file"]);
  });

  it("says what is wrong with the directory itself", async (test) => {
    const path = makeBuildDirectory(test);
    writeFileSync(join(path, "file"), "");
    for (const [name, code] of [
      ["missing", "ENOENT"],
      ["file", "ENOTDIR"],
    ] as const) {
      await assert.rejects(spawner.emptyDirectory(join(path, name), signal), (error: unknown) => {
        assert.ok(error instanceof HelperError);
        assert.deepEqual([error.code, error.subject], [code, join(path, name)]);
        return true;
      });
    }
  });
});
