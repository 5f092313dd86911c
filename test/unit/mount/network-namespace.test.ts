import assert from "node:assert/strict";
import { execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, it, type TestContext } from "node:test";
import { promisify } from "node:util";
import { NetworkNamespace } from "../../../src/mount/index.ts";
import { MemoryFileSystem, NfsServer } from "../../../src/nfs/index.ts";

const asRoot =
  process.getuid?.() === 0 && spawnSync("unshare", ["--net", "true"]).status === 0
    ? { timeout: 30_000 }
    : { skip: "may not make network namespaces" };
const MODULE = join(import.meta.dirname, "../../../src/mount/index.ts");

function namespacesOfThreads(): Set<string> {
  return new Set(
    readdirSync("/proc/self/task").map((task) => readlinkSync(`/proc/self/task/${task}/ns/net`)),
  );
}

function createNamespace(test: TestContext): NetworkNamespace {
  const namespace = NetworkNamespace.create();
  test.after(() => namespace.close());
  return namespace;
}

/** What a program prints that is started by a thread in the namespace. */
async function output(namespace: NetworkNamespace, file: string, ...rest: string[]): Promise<string> {
  const child = namespace.within(() => spawn(file, rest, { stdio: ["ignore", "pipe", "inherit"] }));
  return text(child.stdout);
}

describe("a network namespace", asRoot, () => {
  it("has a server that is reached from within, and not from elsewhere", async (test) => {
    const namespace = createNamespace(test);
    const server = new NfsServer({ fileSystem: new MemoryFileSystem() });
    test.after(() => server.close());
    const port = await server.listen({ fd: namespace.openTcpSocket() });
    await assert.rejects(once(connect({ port, host: "127.0.0.1" }), "connect"), { code: "ECONNREFUSED" });
    const hexadecimal = port.toString(16).toUpperCase().padStart(4, "0");
    assert.ok(!readFileSync("/proc/net/tcp", "latin1").includes(`0100007F:${hexadecimal} `));
    assert.match(await output(namespace, "cat", "/proc/net/tcp"), new RegExp(`0100007F:${hexadecimal} `));
    const script = `exec 3<>/dev/tcp/127.0.0.1/${port} && echo reached`;
    assert.equal(await output(namespace, "bash", "-c", script), "reached\n");
  });

  it("is entered by nothing but what is done within", async (test) => {
    // Threads of libuv's pool have been started, as by a worker.
    await promisify(execFile)("true");
    const home = namespacesOfThreads();
    assert.equal(home.size, 1);
    const namespace = createNamespace(test);
    assert.deepEqual(namespacesOfThreads(), home);
    const inside = namespace.within(() => namespacesOfThreads());
    assert.equal(inside.size, 2, "this thread, and none of the others, is in it");
    namespace.openTcpSocket();
    assert.throws(
      () =>
        namespace.within(() => {
          throw new Error("thrown within");
        }),
      /thrown within/,
    );
    assert.deepEqual(namespacesOfThreads(), home);
  });

  it("is not stayed in: a thread that cannot return from it ends its process", () => {
    const { status, stdout, stderr } = runProgram(
      [],
      `
      const home = readlinkSync("/proc/thread-self/ns/net");
      const closeWayBack = () => {
        for (const fd of readdirSync("/proc/self/fd")) {
          try {
            if (readlinkSync("/proc/self/fd/" + fd) === home) closeSync(Number(fd));
          } catch {}
        }
        console.log("within");
      };
      const namespace = NetworkNamespace.create();
      try {
        namespace.within(closeWayBack);
      } catch {}
      console.log("beyond");`,
    );
    assert.equal(stdout, "within\n");
    assert.match(stderr, /cannot return .*EBADF/);
    assert.equal(status, 1);
  });

  for (const capability of ["sys_admin", "net_admin"]) {
    it(`is refused, with the way out, without CAP_${capability.toUpperCase()}`, () => {
      const { stdout } = runProgram(
        ["setpriv", "--bounding-set", `-${capability}`],
        `
        const look = () => [readlinkSync("/proc/thread-self/ns/net"), readdirSync("/proc/self/fd").length];
        const before = look();
        try {
          NetworkNamespace.create();
        } catch (error) {
          console.log(error.name, error.message);
        }
        console.log(JSON.stringify(before) === JSON.stringify(look()) ? "as before" : "changed");`,
      );
      assert.match(
        stdout,
        /^MountError cannot make a network namespace .*EPERM: .*CAP_SYS_ADMIN and CAP_NET_ADMIN/,
      );
      assert.match(stdout, /as before/);
    });
  }
});

/** Runs statements of JavaScript in a process of their own, whose standard output is open when they begin. */
function runProgram(prefix: readonly string[], statements: string) {
  const program = `
    import { closeSync, readdirSync, readlinkSync } from "node:fs";
    import { NetworkNamespace } from ${JSON.stringify(MODULE)};
    process.stdout.write("");
    ${statements}`;
  const [file = "", ...rest] = [...prefix, process.execPath, "--input-type=module", "--eval", program];
  return spawnSync(file, rest, { encoding: "utf8" });
}
