import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { NfsMount } from "../../src/mount/index.ts";
import { NfsServer } from "../../src/nfs/index.ts";
import type { Digest } from "../../src/reapi/digest.ts";
import { type BuildDirectory, DirectoryFilePool, FileTree } from "../../src/vfs/index.ts";
import { FakeInputSource } from "../unit/vfs/fake-input-source.ts";
import { inKernel, sh } from "./mounted-file-systems.ts";
import { WorkerCluster } from "./worker-cluster.ts";

/** The kernel asks for the attributes of what it has seen after an hour, or, to see what it does then, after a second. */
const cacheTimes = {
  "an hour": [],
  "a second": ["acregmin=1,acregmax=1,acdirmin=1,acdirmax=1"],
} as const;

for (const [time, mountOptions] of Object.entries(cacheTimes)) {
  describe(`names of build directories where the kernel asks again after ${time}`, inKernel, () => {
    const source = new FakeInputSource();
    let folder: string;
    let mountPath: string;
    let tree: FileTree;
    let server: NfsServer;
    let mount: NfsMount;

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), "names-"));
      mountPath = join(folder, "mount");
      tree = new FileTree({ source, pool: new DirectoryFilePool(join(folder, "pool")) });
      server = new NfsServer({ fileSystem: tree, delegations: true });
      const port = await server.listen();
      mount = await NfsMount.mount({ port, serverPath: "/", mountPath, version: "4.2", mountOptions });
    });

    after(async () => {
      await mount.unmount(1000);
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    });

    const run = (script: string) => sh(script, mountPath);

    async function make(name: string, content: string): Promise<BuildDirectory> {
      const build = tree.createBuildDirectory(name);
      await build.attachInputRoot(["root"], source.addTree({ file: content, [content]: { deep: content } }));
      await mount.refresh();
      return build;
    }

    /** Returns once the kernel has asked for the root's attributes by itself. */
    async function untilExpired(): Promise<void> {
      const { GETATTR: before = 0 } = server.statistics().operations;
      do {
        await run("stat . >/dev/null");
      } while ((server.statistics().operations.GETATTR ?? 0) === before);
    }

    const expectContent = async (name: string, content: string) =>
      assert.equal(
        await run(`cat ${name}/root/file; echo; cat ${name}/root/${content}/deep; echo; ls ${name}/root`),
        `${content}\n${content}\n${[content, "file"].sort().join("\n")}`,
      );

    it("are the new directory's as soon as there is one again, also after they were looked for in between", async () => {
      for (const [index, content] of ["first", "second", "third", "fourth"].entries()) {
        const build = await make("again", content);
        await expectContent("again", content);
        await run("echo written > again/root/own; rm again/root/own");
        if (time === "a second" && index % 2 === 1) {
          await untilExpired();
          await expectContent("again", content);
        }
        await build.remove();
        if (index > 0) {
          await mount.refresh();
          assert.equal(
            await run("ls again 2>&1 || true"),
            "ls: cannot access 'again': No such file or directory",
          );
        }
      }
    });

    it("are the new directory's while a process is still in the one before", async (test) => {
      const former = await make("occupied", "former");
      const script = "exec 3<root/file; echo there; read -r line; ls 2>&1; cat <&3 2>&1; true";
      const shell = spawn("sh", ["-c", `cd "$0"; ${script}`, join(mountPath, "occupied")], {
        stdio: ["pipe", "pipe", "inherit"],
      });
      test.after(() => void shell.kill("SIGKILL"));
      shell.stdout.setEncoding("utf8");
      await once(shell.stdout, "data");
      await former.remove();
      const build = await make("occupied", "later");
      await expectContent("occupied", "later");
      let said = "";
      shell.stdout.on("data", (data: string) => {
        said += data;
      });
      shell.stdin.end("\n");
      await once(shell, "close");
      assert.doesNotMatch(said, /later/);
      await expectContent("occupied", "later");
      await build.remove();
    });

    it("keep what runs in other directories as it is", async () => {
      const steady = await make("steady", "steady");
      await run("echo one > steady/root/own; mkdir steady/root/made");
      for (const content of ["a", "b"]) {
        const build = await make("coming-and-going", content);
        await expectContent("coming-and-going", content);
        assert.equal(
          await run("cat steady/root/own; ls steady/root"),
          ["one", "file", "made", "own", "steady"].join("\n"),
        );
        await build.remove();
      }
      await steady.remove();
    });
  });
}

describe("an action that runs again", inKernel, () => {
  let cluster: WorkerCluster;
  /** Until when storage holds back blobs, by their hash. */
  const held = new Map<string, Promise<void>>();
  const cleanUp: (() => unknown)[] = [];
  before(async () => {
    cluster = await WorkerCluster.start(
      { after: (work: () => unknown) => void cleanUp.push(work) },
      {
        runnerConfiguration: { chrootIntoInputRoot: false },
        server: { onRead: ({ hash }) => held.get(hash) },
      },
    );
    await cluster.ready();
  });
  after(async () => {
    for (const work of cleanUp) {
      await work();
    }
  });

  /** The names of the build directories in which the action ran, by what it printed. */
  async function names(
    script: string,
    doNotCache: boolean,
    instanceNames: readonly string[],
    inputRoot?: Digest,
  ): Promise<string[]> {
    const responses = await Promise.all(
      instanceNames.map((instanceName) =>
        cluster.run({ script, action: { doNotCache, timeout: { seconds: 60n } }, instanceName, inputRoot }),
      ),
    );
    return Promise.all(
      responses.map(async ({ status, result }) => {
        assert.equal(status, undefined, status?.message);
        assert.equal(await cluster.text(result?.stderrDigest), "");
        const path = (await cluster.text(result?.stdoutDigest)).trim();
        assert.ok(path.startsWith(`${cluster.mountPath}/`) && path.endsWith("/root"), path);
        return path.slice(cluster.mountPath.length + 1, -"/root".length);
      }),
    );
  }

  it("sees the same path, named as Buildbarn names it, and none of what it left", async () => {
    const script = "test ! -e left || exit 1; echo x > left; pwd";
    const [first] = await names(script, false, [""]);
    assert.match(first!, /^[0-9a-f]{16}$/);
    assert.deepEqual(await names(script, false, [""]), [first]);
    assert.deepEqual(await names(script, false, [""]), [first]);
  });

  it("sees another path while it runs twice at once, and the same again after that", async () => {
    const { inputRoot, file } = await cluster.rootWith("held", Buffer.from("comes once both run"));
    const bothRun = Promise.withResolvers<void>();
    held.set(file.hash, bothRun.promise);
    const script = "cat held >/dev/null; test ! -e left || exit 1; echo x > left; pwd";
    const running = names(script, false, ["", "other"], inputRoot);
    while (
      cluster.server.queue.statistics().executing < 2 ||
      (await sh("ls", cluster.mountPath)).split("\n").length < 2
    ) {
      await setImmediate();
    }
    bothRun.resolve();
    const [digits, number] = (await running).sort((a, b) => b.length - a.length);
    assert.match(digits!, /^[0-9a-f]{16}$/);
    assert.match(number!, /^\d{1,4}$/);
    assert.deepEqual(await names(script, false, ["other"], inputRoot), [digits]);
  });

  it("that must not be cached sees a path that nobody has seen", async () => {
    const seen = [...(await names("pwd", true, [""])), ...(await names("pwd", true, ["", "other"]))];
    assert.equal(new Set(seen).size, 3);
    for (const name of seen) {
      assert.match(name, /^\d{1,4}$/);
    }
  });
});
