import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { describe, it, type TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import fc from "fast-check";
import { MountHelper } from "../../../src/mount/mount-helper.ts";
import { isMounted } from "../../../src/mount/mount-table.ts";

const asRoot = process.getuid?.() === 0 ? {} : { skip: "needs root" };

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ").filter(Boolean).map(Number);
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

/** The one that was started last: one before may not have quite ended. */
function helperProcess(): number {
  const tasks = readdirSync("/proc/self/task");
  const children = tasks.flatMap((task) =>
    readFileSync(`/proc/self/task/${task}/children`, "latin1").split(" ").filter(Boolean),
  );
  const helper = children.findLast((pid) => readFileSync(`/proc/${pid}/comm`, "latin1") === "bb_mount\n");
  assert.ok(helper);
  return Number(helper);
}

/** A supervised tmpfs in a new directory; undefined, and the test is skipped, if this process may not mount. */
async function mountSupervised(test: TestContext, name = "mount-helper-") {
  const target = mkdtempSync(join(tmpdir(), name));
  const helper = new MountHelper();
  test.after(async () => {
    await helper.close();
    assert.ok(!isMounted(target));
    rmdirSync(target);
  });
  const mount = () =>
    helper.mount({ source: "none", target, type: "tmpfs", flags: 0, data: "", supervised: true });
  const { error, mountId } = await mount();
  if (error === "EPERM") {
    test.skip("may not mount");
    return undefined;
  }
  assert.equal(error, "");
  return { helper, target, mountId, at: { target, mountId }, mount };
}

describe("a supervised mount", { ...asRoot, timeout: 30_000 }, () => {
  it("is left alone when another ID is named", async (test) => {
    // What /proc/self/mountinfo has escapes for.
    const below = await mountSupervised(test, "mount helper\t\n\\040#-");
    if (below === undefined) {
      return;
    }
    const { helper, target } = below;
    const above = await below.mount();
    const at = (mountId: number) => ({ target, mountId });
    for (const call of ["sync", "statfs", "look", "unmount", "detach", "forceUnmount"] as const) {
      assert.equal(await helper[call](at(below.mountId)), "EBUSY");
      assert.equal(await helper[call](at(2 ** 31 - 1)), "ENOENT");
    }
    for (const { mountId } of [above, below]) {
      assert.equal(await helper.sync(at(mountId)), "");
      assert.equal(await helper.statfs(at(mountId)), "");
      assert.equal(await helper.look(at(mountId)), "");
      assert.equal(await helper.unmount(at(mountId)), "");
      assert.equal(await helper.detach(at(mountId)), "ENOENT");
    }
    assert.ok(!isMounted(target));
  });

  it("leaves the tree although it is in use, when it has to, or with its helper", async (test) => {
    for (const call of ["detach", "forceUnmount", "close"] as const) {
      const mounted = await mountSupervised(test);
      if (mounted === undefined) {
        return;
      }
      const { helper, target, at } = mounted;
      writeFileSync(join(target, "file"), "kept");
      const file = openSync(join(target, "file"), "r");
      assert.equal(await helper.unmount(at), "EBUSY");
      await helper[call](at);
      assert.ok(!isMounted(target));
      assert.equal(readFileSync(file, "latin1"), "kept");
      closeSync(file);
    }
  });
});

describe("the process that looks at a mount", { ...asRoot, timeout: 30_000 }, () => {
  it("looks once at a time, and is replaced when it was killed", async (test) => {
    const mounted = await mountSupervised(test);
    if (mounted === undefined) {
      return;
    }
    const { helper, at } = mounted;
    const supervisor = helperProcess();
    assert.equal(await helper.look(at), "");
    const [looker = 0] = childrenOf(supervisor);
    process.kill(looker, "SIGSTOP");
    const looks = [helper.look(at), helper.look(at)];
    assert.equal(await looks[1], "EAGAIN");
    process.kill(looker, "SIGKILL");
    assert.equal(await looks[0], "EINTR");
    assert.equal(await helper.look(at), "");
    assert.notEqual(childrenOf(supervisor)[0], looker);
    assert.equal(await helper.unmount(at), "", "it keeps nothing in use");
  });
});

describe("standing in for a server that is gone", { timeout: 30_000 }, () => {
  /** The message of a reply that was accepted with PROG_UNAVAIL (RFC 5531, section 9), with its record mark. */
  const unavailable = (xid: number) => {
    const reply = Buffer.alloc(28);
    for (const [index, word] of [0x80000018, xid, 1, 0, 0, 0, 1].entries()) {
      reply.writeUInt32BE(word, index * 4);
    }
    return reply;
  };
  const fragment = (bytes: Uint8Array, isLast: boolean) => {
    const mark = Buffer.alloc(4);
    mark.writeUInt32BE(bytes.length + (isLast ? 0x80000000 : 0));
    return [mark, bytes];
  };
  /** XID, message type, and whatever follows. */
  const message = (xid: number, type: number, rest: Uint8Array) => {
    const start = Buffer.alloc(8);
    start.writeUInt32BE(xid);
    start.writeUInt32BE(type, 4);
    return Buffer.concat([start, rest]);
  };
  const CALL = 0;
  const LAST_CALL = (() => {
    const words = [1, 57, 0, 0];
    const end = Buffer.alloc(16);
    for (const [index, word] of words.entries()) {
      end.writeUInt32BE(word, index * 4);
    }
    return Buffer.concat(fragment(message(1, CALL, end), true));
  })();

  /** A helper whose input has ended, with connections that were made before. */
  async function standIn(connectionCount: number) {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    // What a worker that was killed leaves behind: nobody accepts, and the socket is the helper's alone.
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
    const helper = new MountHelper(fd);
    const pid = helperProcess();
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");
    const sockets = Array.from({ length: connectionCount + 1 }, () => connect(port, "127.0.0.1"));
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    await helper.close();
    const [last, ...connections] = sockets as [Socket, ...Socket[]];
    return {
      connections,
      /** Sends DESTROY_CLIENTID, after which nobody is left to stand in for. */
      async end() {
        const answer = buffer(last);
        last.end(LAST_CALL);
        assert.deepEqual(await answer, unavailable(1));
        while (existsSync(`/proc/${pid}`)) {
          await setTimeout(5);
        }
      },
    };
  }

  it("answers every call with an error, however it is cut, until the connections end", async () => {
    const call = fc.record({
      xid: fc.nat(2 ** 32 - 1),
      type: fc.constantFrom(CALL, CALL, 1, 2),
      rest: fc.uint8Array({ maxLength: 200 }),
      cuts: fc.array(fc.nat(208), { maxLength: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(call, { maxLength: 20 }),
        fc.array(fc.nat(), { maxLength: 30 }),
        async (calls, cuts) => {
          const { connections, end } = await standIn(2);
          const sent = Buffer.concat(
            calls.flatMap(({ xid, type, rest, cuts }) => {
              const bytes = message(xid, type, rest);
              const ends = [...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
              return ends.flatMap((end, index) =>
                fragment(bytes.subarray(ends[index - 1] ?? 0, end), index === ends.length - 1),
              );
            }),
          );
          const expected = Buffer.concat(
            calls.filter(({ type }) => type === CALL).map(({ xid }) => unavailable(xid)),
          );
          const places = [...cuts.map((cut) => cut % (sent.length + 1)).sort((a, b) => a - b), sent.length];
          for (const connection of connections) {
            const answers = buffer(connection);
            for (const [index, place] of places.entries()) {
              connection.write(sent.subarray(places[index - 1] ?? 0, place));
            }
            connection.end();
            assert.deepEqual(await answers, expected);
          }
          await end();
        },
      ),
      { numRuns: 20 },
    );
  });

  it("survives any bytes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), async (bytes) => {
        const { connections, end } = await standIn(2);
        const [hostile, friendly] = connections as [Socket, Socket];
        hostile.on("error", () => {}).end(bytes);
        hostile.resume();
        const answers = buffer(friendly);
        friendly.end(Buffer.concat(fragment(message(7, CALL, bytes), true)));
        assert.deepEqual(await answers, unavailable(7));
        await end();
      }),
      { numRuns: 20 },
    );
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
    // Has it started a process that stays.
    assert.equal(await helper.look({ target: folder, mountId: 0 }), "ENOENT");
    const [looker = 0] = childrenOf(supervisor);
    assert.ok(looker > 0 && !openFiles(looker).includes(file), String(openFiles(looker)));
  });

  it("that cannot be taken is an errno", async (test) => {
    const helper = new MountHelper();
    test.after(() => helper.close());
    assert.equal(await helper.lock("/nonexistent/lock", "x"), "ENOENT");
    assert.equal(await helper.lock("/proc", "x"), "EISDIR");
  });
});
