import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { NfsMount, type NfsVersion } from "../../src/mount/index.ts";
import { Gate, MemoryFileSystem, NfsServer } from "../../src/nfs/index.ts";

const inKernel = process.env.IN_KERNEL ? {} : { skip: "run it by npm run in-kernel" };

interface Result {
  readonly status: number | null;
  readonly output: string;
}

/** This process serves the mount: it must not wait for what uses it. */
function run(command: string, ...args: string[]): Promise<Result> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (data: string) => {
      output += data;
    });
  }
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, output }));
  });
}

async function shell(script: string, folder: string): Promise<string> {
  const { status, output } = await run("bash", "-euo", "pipefail", "-c", `cd "$0"\n${script}`, folder);
  assert.equal(status, 0, output);
  return output.trimEnd();
}

describe("the memory file system through the kernel's client", inKernel, () => {
  const work = mkdtempSync(join(tmpdir(), "nfs-memory-"));
  const faults: unknown[] = [];
  const gate = new Gate();
  const server = new NfsServer({
    fileSystem: new MemoryFileSystem(),
    delegations: true,
    onFault: (error) => faults.push(error),
  });
  const gated = new NfsServer({ fileSystem: new MemoryFileSystem(), gate });
  let port = 0;

  before(async () => {
    port = await server.listen();
  });
  after(async () => {
    await server.close();
    await gated.close();
    rmSync(work, { recursive: true, force: true });
    assert.deepEqual(faults, []);
  });

  for (const version of ["4.0", "4.1", "4.2"] as const satisfies readonly NfsVersion[]) {
    describe(`vers=${version}`, () => {
      const mountPath = join(work, `mount-${version}`);
      let mount: NfsMount;

      before(async () => {
        mount = await NfsMount.mount({ port, serverPath: "/", mountPath, version });
      });
      after(() => mount.unmount());

      it("carries a tree there and back with nothing changed", async () => {
        const script = `
          mkdir tar-${version} && cd tar-${version}
          tar -C /usr/include/asm-generic -cf ../in.tar . && tar -xf ../in.tar
          (cd /usr/include/asm-generic && find . -type f -print0 | sort -z | xargs -0 sha256sum) > ../expected
          echo 3 > /proc/sys/vm/drop_caches
          find . -type f -print0 | sort -z | xargs -0 sha256sum > ../actual
          cmp ../expected ../actual && wc -l < ../actual`;
        assert.ok(Number(await shell(script, mountPath)) > 0);
      });
    });
  }

  it("mounts behind the gate, where another mount of the same server sees an empty directory", async () => {
    const gatedPort = await gated.listen();
    const inside = join(work, "inside");
    const outside = join(work, "outside");
    const mount = await gate.open((name) =>
      NfsMount.mount({ port: gatedPort, serverPath: `/${name}`, mountPath: inside, version: "4.2" }),
    );
    await shell("echo secret > file", inside);
    const other = await NfsMount.mount({
      port: gatedPort,
      serverPath: "/",
      mountPath: outside,
      version: "4.1",
    });
    assert.equal(await shell("ls -A", outside), "");
    assert.equal(await shell("cat file", inside), "secret");
    await other.unmount();
    await mount.unmount();
    assert.equal(readFileSync("/proc/mounts", "utf8").includes(inside), false);
  });
});
