import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
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

/** Passes connections on to `port`, and cuts them after some replies, before the client has seen the last. */
async function breakingProxy(port: number) {
  let breaks = 0;
  let healed = false;
  const sockets = new Set<Socket>();
  const proxy = createServer((client) => {
    const upstream = connect(port, "127.0.0.1");
    let left = healed ? Number.POSITIVE_INFINITY : 20 + (breaks % 7) * 17;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        client.destroy();
        upstream.destroy();
        sockets.delete(socket);
      });
    }
    client.on("data", (data) => upstream.write(data));
    upstream.on("data", (data) => {
      if (left-- > 0 || healed) client.write(data);
      else {
        breaks++;
        client.destroy();
      }
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return {
    port: (proxy.address() as AddressInfo).port,
    breaks: () => breaks,
    heal: () => {
      healed = true;
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    },
  };
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

  for (const version of ["4.0", "4.1"] as const satisfies readonly NfsVersion[]) {
    it(`loses and repeats nothing while connections break, vers=${version}`, async () => {
      const proxy = await breakingProxy(port);
      const mountPath = join(work, `broken-${version}`);
      const mount = await NfsMount.mount({ port: proxy.port, serverPath: "/", mountPath, version });
      // Each step fails when an operation was done twice, and the end shows what was not done.
      const script = `
        mkdir broken-${version} && cd broken-${version}
        for i in $(seq 30); do
          mkdir d$i; echo "$i" > d$i/a; ln d$i/a d$i/b; mv d$i/b d$i/c; rm d$i/a
          echo "line $i" >> log; test "$(cat d$i/c)" = "$i"; rm d$i/c; rmdir d$i
        done
        ls | wc -l; wc -l < log`;
      assert.equal(await shell(script, mountPath), "1\n30");
      assert.ok(proxy.breaks() > 3, `${proxy.breaks()} breaks`);
      proxy.heal();
      await mount.unmount();
      proxy.close();
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
