import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, it, type TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import {
  clearStaleMounts,
  isMounted,
  MountError,
  NetworkNamespace,
  NfsMount,
  readMountTable,
  shareMounts,
} from "../../src/mount/index.ts";
import { Gate, MemoryFileSystem, NfsServer } from "../../src/nfs/index.ts";
import { sh } from "./mounted-file-systems.ts";
import { unmountVolume } from "./volume.ts";

const inKernel = process.env.IN_KERNEL ? { timeout: 300_000 } : { skip: "run it by npm run in-kernel" };

const MOUNTED_SERVER = join(import.meta.dirname, "mounted-server.ts");

/** Undone in reverse order, as `test.after` would not: looking at a mount that is still there would wait for us. */
function makeScope(test: TestContext): AsyncDisposableStack {
  const scope = new AsyncDisposableStack();
  test.after(() => scope.disposeAsync());
  return scope;
}

function makeFolder(scope: AsyncDisposableStack): string {
  const folder = mkdtempSync(join(tmpdir(), "mount-"));
  scope.defer(() => {
    for (const path of [folder, `${folder}.lock`]) {
      rmSync(path, { recursive: true, force: true });
    }
  });
  return folder;
}

/**
 * An empty server of this process, mounted in a network namespace of its own. This process must not touch the mount
 * synchronously. `beforeClosing` is called when the mount has gone and its server will.
 */
async function mountServer(scope: AsyncDisposableStack, mountPath: string, beforeClosing = async () => {}) {
  const server = new NfsServer({ fileSystem: new MemoryFileSystem() });
  scope.defer(() => server.close());
  const network = NetworkNamespace.create();
  scope.defer(() => network.close());
  const listener = network.openTcpSocket();
  const port = await server.listen({ fd: listener });
  const closeServer = async () => {
    await beforeClosing();
    await server.close();
  };
  const standIn = { listener, closeServer };
  const mount = await NfsMount.mount({ network, port, standIn, serverPath: "/", mountPath, version: "4.2" });
  scope.defer(() => mount.unmount(0));
  return { server, mount };
}

/** A shell that has run its script up to an `echo`; ends when its input does. */
async function startShell(scope: AsyncDisposableStack, script: string): Promise<ChildProcess> {
  const shell = spawn("sh", ["-c", script], { stdio: ["pipe", "pipe", "inherit"] });
  scope.defer(() => void shell.kill("SIGKILL"));
  await once(shell.stdout, "data");
  return shell;
}

/** A process that has written to an open file and keeps it open. (A shell's redirections close, which flushes.) */
async function startWriter(scope: AsyncDisposableStack, path: string, bytes: number): Promise<ChildProcess> {
  const program = `
    const { openSync, writeSync } = require("node:fs");
    writeSync(openSync(${JSON.stringify(path)}, "w"), Buffer.alloc(${bytes}));
    console.log("written");
    process.stdin.resume();`;
  const writer = spawn(process.execPath, ["--eval", program], { stdio: ["pipe", "pipe", "inherit"] });
  scope.defer(() => void writer.kill("SIGKILL"));
  await once(writer.stdout, "data");
  return writer;
}

/** A separate process that mounts its own server. */
async function startMountedServer(scope: AsyncDisposableStack, mountPath: string): Promise<ChildProcess> {
  const server = spawn(process.execPath, [MOUNTED_SERVER, mountPath], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  scope.defer(async () => {
    server.kill("SIGKILL");
    const isLeft = () =>
      readMountTable().findLast(({ mountPoint }) => mountPoint === mountPath)?.fileSystemType === "nfs4";
    if (isLeft()) {
      // By a failing test: this process would wait for ever if it looked at the mount, or waited for umount's end.
      spawn("umount", ["-cifl", mountPath], { stdio: "ignore" }).unref();
    }
    while (isLeft()) {
      await setTimeout(20);
    }
  });
  await once(server.stdout, "data");
  return server;
}

interface ProcessStatus {
  readonly pid: number;
  readonly name: string;
  readonly parent: number;
}

function processes(): ProcessStatus[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const status = readFileSync(`/proc/${pid}/status`, "latin1");
        const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(status)?.[1] ?? "";
        return [{ pid: Number(pid), name: field("Name"), parent: Number(field("PPid")) }];
      } catch {
        return [];
      }
    });
}

async function untilEnded(pid: number): Promise<void> {
  while (existsSync(`/proc/${pid}`)) {
    await setTimeout(20);
  }
}

/** A shell in a mount namespace of its own, with a directory and files of the mount open; it runs its input. */
async function startUser(scope: AsyncDisposableStack, path: string): Promise<ChildProcess> {
  const prepare = `cd ${path}; echo written >file; exec 8>>kept 9<file; echo more >&8; echo ready`;
  const user = spawn("unshare", ["-m", "--propagation", "private", "sh", "-c", `${prepare}; exec sh`], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  scope.defer(() => void user.kill("SIGKILL"));
  assert.equal(String((await once(user.stdout, "data"))[0]), "ready\n");
  return user;
}

/** What the commands print, then the status of the last one. */
async function ask(user: ChildProcess, commands: string): Promise<string> {
  user.stdin?.write(`out=$({ ${commands}; } 2>&1); echo $out $?\n`);
  return String((await once(user.stdout!, "data"))[0]).trim();
}

/** Each system call that needs the server must fail, none wait for it. */
async function assertUserFails(user: ChildProcess): Promise<void> {
  for (const call of ["ls never-seen-2", "echo >new", "echo x >&8; sync -f kept"]) {
    assert.match(await ask(user, call), /[1-9]$/, call);
  }
}

/** Fails if that takes longer than the five seconds that are promised. Returns how many milliseconds it took. */
async function untilUnmounted(path: string): Promise<number> {
  const started = performance.now();
  while (isMounted(path)) {
    assert.ok(performance.now() - started < 5000, `${path} is still mounted after 5 s`);
    await setTimeout(20);
  }
  return performance.now() - started;
}

function mountHelper(worker: number): number {
  const helper = processes().findLast(({ name, parent }) => name === "bb_mount" && parent === worker);
  assert.ok(helper, `process ${worker} has no mount helper`);
  return helper.pid;
}

const helperOf = (worker: ChildProcess) =>
  processes().findLast(({ name, parent }) => name === "bb_mount" && parent === worker.pid);

describe("a mount of this process's own server", inKernel, () => {
  it("is there until it is unmounted", async (test) => {
    const scope = makeScope(test);
    const path = join(makeFolder(scope), "not/there/yet");
    const { mount } = await mountServer(scope, path);
    mount.lost.then(() => assert.fail("lost, though it was unmounted"));
    assert.ok(isMounted(path));
    const shell = await startShell(scope, `cd ${path} && mkdir d && echo hello >d/f && cat d/f && cd /`);
    await once(shell, "exit");
    await mount.unmount();
    assert.ok(!isMounted(path));
    assert.deepEqual(readdirSync(path), []);
  });

  it("has everything written to it on the server after sync()", async (test) => {
    const scope = makeScope(test);
    const path = makeFolder(scope);
    const { mount, server } = await mountServer(scope, path);
    const writer = await startWriter(scope, join(path, "f"), 1000);
    assert.equal(server.statistics().operations.WRITE, undefined);
    await Promise.all([mount.sync(), mount.sync(), mount.sync()]);
    assert.equal(server.statistics().operations.WRITE, 1);
    writer.kill();
    await once(writer, "exit");
  });

  it("is the only one that sees the file system behind a gate", async (test) => {
    const scope = makeScope(test);
    const folder = makeFolder(scope);
    const gate = new Gate();
    const server = new NfsServer({ fileSystem: new MemoryFileSystem(), gate });
    scope.defer(() => server.close());
    const port = await server.listen();
    const inside = await gate.open((name) =>
      NfsMount.mount({ port, serverPath: `/${name}`, mountPath: join(folder, "inside"), version: "4.2" }),
    );
    scope.defer(() => inside.unmount(0));
    await sh("echo secret > file", inside.path);
    const outside = await NfsMount.mount({
      port,
      serverPath: "/",
      mountPath: join(folder, "outside"),
      version: "4.1",
    });
    scope.defer(() => outside.unmount(0));
    assert.equal(await sh("ls -A", outside.path), "");
    assert.equal(await sh("cat file", inside.path), "secret");
  });

  it("leaves the tree although it is in use, when it has to", async (test) => {
    const scope = makeScope(test);
    const path = makeFolder(scope);
    const { mount } = await mountServer(scope, path);
    await startShell(scope, `cd ${path}; echo; read wait`);
    await mount.unmount(100);
    assert.ok(!isMounted(path));
  });

  it("is seen in another mount namespace, also if made later, and leaves that too", async (test) => {
    const scope = makeScope(test);
    const volume = makeFolder(scope);
    await shareMounts(volume);
    await shareMounts(volume);
    scope.defer(() => unmountVolume(volume));
    const shell = spawn("unshare", ["-m", "--propagation", "slave", "sh"], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    scope.defer(() => void shell.kill("SIGKILL"));
    const ask = async (script: string) => {
      shell.stdin.write(`${script}\n`);
      return String((await once(shell.stdout, "data"))[0]);
    };
    assert.equal(await ask("echo ready"), "ready\n");
    const { mount } = await mountServer(scope, join(volume, "build"));
    assert.equal(await ask(`echo seen >${volume}/build/f; cat ${volume}/build/f`), "seen\n");
    await mount.unmount();
    assert.equal(await ask(`ls ${volume}/build | wc -l`), "0\n");
  });

  it("stays what it was when another worker is given the same place", async (test) => {
    const scope = makeScope(test);
    const path = makeFolder(scope);
    const { mount } = await mountServer(scope, path);
    const other = spawn(process.execPath, [MOUNTED_SERVER, path], { stdio: ["ignore", "ignore", "pipe"] });
    scope.defer(() => void other.kill("SIGKILL"));
    const [errors] = await Promise.all([text(other.stderr), once(other, "exit")]);
    assert.deepEqual([other.exitCode, other.signalCode], [1, null]);
    assert.match(errors, new RegExp(`is another worker's, process ${process.pid} on .*${path}.lock`));
    await mount.sync();
  });

  it("stays what it was also when somebody has removed its lock", async (test) => {
    const scope = makeScope(test);
    const path = makeFolder(scope);
    const { mount, server } = await mountServer(scope, path);
    rmSync(`${path}.lock`);
    await assert.rejects(mountServer(scope, path), { code: "EBUSY", message: /its server is alive/ });
    await assert.rejects(clearStaleMounts(path), { code: "EBUSY" });
    const writer = await startWriter(scope, join(path, "f"), 1000);
    await mount.sync();
    assert.equal(server.statistics().operations.WRITE, 1);
    writer.kill();
    await once(writer, "exit");
  });

  it("may still be used when the server has closed: there are errors, and nobody hangs", async (test) => {
    const scope = makeScope(test);
    const path = makeFolder(scope);
    const { mount } = await mountServer(scope, path);
    const user = await startUser(scope, path);
    const helper = mountHelper(process.pid);
    await mount.unmount();
    assert.ok(!isMounted(path));
    await assertUserFails(user);
    // There is no lock that another worker would wait for.
    const again = await mountServer(scope, path);
    await again.mount.unmount();
    user.kill("SIGKILL");
    await once(user, "exit");
    await untilEnded(helper);
  });

  it("is served for those who still use it, until the server has closed", async (test) => {
    const scope = makeScope(test);
    const path = makeFolder(scope);
    const { mount } = await mountServer(scope, path, async () => {
      assert.ok(!isMounted(path));
      assert.equal(await ask(user, "cat file; test -e never-seen-1"), "written 1");
      user.stdin?.end();
      await once(user, "exit");
    });
    const user = await startUser(scope, path);
    await mount.unmount();
  });

  it("is not mistaken for what was mounted upon it", async (test) => {
    const scope = makeScope(test);
    const path = makeFolder(scope);
    const { mount } = await mountServer(scope, path);
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", path]);
    mkdirSync(join(path, "mine"));
    await assert.rejects(mount.sync(), { code: "EBUSY", message: /something else is mounted upon it/ });
    await assert.rejects(mount.unmount(100), { code: "EBUSY", message: /something else is mounted upon it/ });
    assert.ok(statSync(join(path, "mine")).isDirectory());
    execFileSync("umount", [path]);
    await mount.unmount();
    assert.ok(!isMounted(path));
  });

  it("is not mistaken for what is mounted there after it was unmounted", async (test) => {
    const scope = makeScope(test);
    const path = makeFolder(scope);
    const { mount } = await mountServer(scope, path);
    // Not by execFileSync(): it waits for this process's server.
    await once(spawn("umount", ["-i", "-l", path]), "exit");
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", path]);
    scope.defer(() => void execFileSync("umount", [path]));
    await assert.rejects(mount.sync(), { code: "ENOENT", message: /somebody has unmounted it/ });
    await mount.unmount();
    assert.ok(isMounted(path));
  });

  it("can be unmounted although its helper was killed", async (test) => {
    const scope = makeScope(test);
    const path = makeFolder(scope);
    const { mount } = await mountServer(scope, path);
    process.kill(mountHelper(process.pid), "SIGKILL");
    const { message } = await mount.lost;
    assert.match(message, /the mount helper has ended \(SIGKILL\)/);
    await assert.rejects(mount.sync(), /the mount helper has ended/);
    await mount.unmount();
    assert.ok(!isMounted(path));
  });

  it("that cannot be made fails with what to do", async (test) => {
    const scope = makeScope(test);
    const mountPath = makeFolder(scope);
    const closed = createServer().listen(0, "127.0.0.1");
    await once(closed, "listening");
    const { port } = closed.address() as AddressInfo;
    closed.close();
    await once(closed, "close");
    const refused = NfsMount.mount({ port, serverPath: "/", mountPath, version: "4.1" });
    await assert.rejects(
      refused,
      (error: unknown) => error instanceof MountError && error.code === "ECONNREFUSED",
    );
    const odd = NfsMount.mount({ port, serverPath: "/", mountPath, version: "4.2", mountOptions: ["odd=1"] });
    await assert.rejects(odd, /EINVAL: the kernel refuses an option; look at mountOptions .*odd=1/);
  });

  it("can be given up while the server does not answer", async (test) => {
    const scope = makeScope(test);
    const mountPath = makeFolder(scope);
    const mute = createServer((socket) => socket.on("error", () => {}).resume()).listen(0, "127.0.0.1");
    scope.defer(() => void mute.close());
    const asked = once(mute, "connection");
    await once(mute, "listening");
    const giveUp = new AbortController();
    const { port } = mute.address() as AddressInfo;
    const mounting = NfsMount.mount({ port, serverPath: "/", mountPath, version: "4.2" }, giveUp.signal);
    const [socket] = await asked;
    giveUp.abort(new Error("given up"));
    await assert.rejects(mounting, /given up/);
    assert.ok(!isMounted(mountPath));
    socket.destroy();
  });
});

describe("when the process that serves a mount is killed", inKernel, () => {
  it("the mount is gone within 5 s, with whatever was waiting for it", async (test) => {
    const scope = makeScope(test);
    const path = makeFolder(scope);
    const worker = await startMountedServer(scope, path);
    // One holds unwritten data, one is in the tree, one waits for the server in the kernel.
    const writer = await startWriter(scope, join(path, "f"), 3_000_000);
    const resident = await startShell(scope, `mkdir ${path}/d; cd ${path}/d; echo; read wait`);
    const helper = helperOf(worker);
    assert.ok(helper);
    worker.kill("SIGKILL");
    const waiter = spawn("sh", ["-c", `exec ls ${path}/never-seen`], { stdio: "ignore" });
    test.diagnostic(`unmounted after ${Math.round(await untilUnmounted(path))} ms`);
    if (waiter.exitCode === null) {
      await once(waiter, "exit");
    }
    for (const process of [writer, resident]) {
      process.kill("SIGKILL");
      await once(process, "exit");
    }
    await untilEnded(helper.pid);
    const { mount } = await mountServer(scope, path);
    await mount.unmount();
  });

  it("who still uses the mount, however long, gets errors and can end", async (test) => {
    const scope = makeScope(test);
    const path = makeFolder(scope);
    const worker = await startMountedServer(scope, path);
    const user = await startUser(scope, path);
    const helper = helperOf(worker);
    assert.ok(helper);
    worker.kill("SIGKILL");
    await untilUnmounted(path);
    await assertUserFails(user);
    user.kill("SIGKILL");
    await once(user, "exit");
    await untilEnded(helper.pid);
  });

  it("along with its helper, the next one removes what they have left", async (test) => {
    const scope = makeScope(test);
    const path = makeFolder(scope);
    const worker = await startMountedServer(scope, path);
    process.kill(helperOf(worker)?.pid ?? 0, "SIGKILL");
    worker.kill("SIGKILL");
    await once(worker, "exit");
    const left = readMountTable().find(({ mountPoint }) => mountPoint === path);
    const port = Number(/port=(\d+)/.exec(left?.superOptions ?? "")?.[1]);
    // Of another network namespace, so that nobody here is what the mount waits for.
    const unrelated = createServer().listen(port, "127.0.0.1");
    scope.defer(() => void unrelated.close());
    await once(unrelated, "listening");
    const { mount } = await mountServer(scope, path);
    await mount.unmount();
    assert.ok(!isMounted(path));
  });

  it("what else is mounted at the place stays", async (test) => {
    const scope = makeScope(test);
    const path = makeFolder(scope);
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", path]);
    scope.defer(() => void execFileSync("umount", [path]));
    mkdirSync(join(path, "mine"));
    await clearStaleMounts(path);
    const worker = await startMountedServer(scope, path);
    process.kill(helperOf(worker)?.pid ?? 0, "SIGKILL");
    worker.kill("SIGKILL");
    await once(worker, "exit");
    await clearStaleMounts(path);
    assert.ok(statSync(join(path, "mine")).isDirectory());
  });

  it("by the signal of its whole process group, the helper still does its duty", async (test) => {
    const scope = makeScope(test);
    const path = makeFolder(scope);
    const worker = spawn(process.execPath, [MOUNTED_SERVER, path], {
      stdio: ["ignore", "pipe", "inherit"],
      detached: true,
    });
    await once(worker.stdout, "data");
    assert.ok(worker.pid);
    for (const signal of ["SIGINT", "SIGTERM", "SIGKILL"] as const) {
      try {
        process.kill(-worker.pid, signal);
      } catch {
        // Already gone.
      }
    }
    await untilUnmounted(path);
  });
});
