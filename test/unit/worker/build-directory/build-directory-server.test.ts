import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import type { VirtualBuildDirectorySettings } from "../../../../src/config/bb-worker/build-directory.ts";
import { MountError, WriteBackError } from "../../../../src/mount/index.ts";
import { makeDigest, SHA256 } from "../../../../src/reapi/digest.ts";
import { createLog } from "../../../../src/telemetry/log.ts";
import { MemoryFilePool } from "../../../../src/vfs/index.ts";
import { BuildDirectoryServer } from "../../../../src/worker/build-directory/build-directory-server.ts";
import { FakeInputSource } from "../../vfs/fake-input-source.ts";

const startServer = (sync: () => Promise<void>, refreshNames = async () => {}) =>
  BuildDirectoryServer.start(
    { maximumWritableFileUploadDelay: 1000 } as VirtualBuildDirectorySettings,
    new FakeInputSource(),
    new MemoryFilePool(1),
    async () => ({
      lost: new Promise(() => {}),
      sync,
      refreshNames,
      statistics: () => assert.fail("nobody asks"),
      close: async () => {},
    }),
    createLog("error", () => {}),
  );

describe("names of build directories", () => {
  const digest = (hash: string) => makeDigest("", SHA256, hash, 1);
  const hash = `0123456789abcdef${"1".repeat(48)}`;

  const start = () => startServer(async () => {});

  it("are the first 16 digits of the action's digest, each time", async () => {
    await using server = await start();
    for (let time = 0; time < 2; time++) {
      const name = server.nameFor(digest(hash));
      assert.equal(name, "0123456789abcdef");
      await server.tree.createBuildDirectory(name).remove();
    }
  });

  it("are numbers without a digest, and while the name is taken", async () => {
    await using server = await start();
    const names = [hash, undefined, hash, `${hash.slice(0, 16)}${"2".repeat(48)}`, undefined].map((of) => {
      const name = server.nameFor(of === undefined ? undefined : digest(of));
      server.tree.createBuildDirectory(name);
      return name;
    });
    assert.deepEqual(names, ["0123456789abcdef", "1", "2", "3", "4"]);
  });
});

describe("the kernel is made to forget names", () => {
  let refreshes: PromiseWithResolvers<void>[];
  const start = async () => {
    refreshes = [];
    const server = await startServer(
      async () => {},
      () => {
        refreshes.push(Promise.withResolvers());
        return refreshes.at(-1)!.promise;
      },
    );
    return { server, root: server.tree.root, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
  };

  it("not before a name that it has not seen", async () => {
    await using f = await start();
    f.root.lookup("other");
    f.server.tree.createBuildDirectory("first");
    await f.server.untilVisible("first");
    assert.equal(refreshes.length, 0);
  });

  for (const [how, see] of [
    ["looked for in vain", ({ root }) => void root.lookup("name")],
    ["found", ({ server, root }) => void [server.tree.createBuildDirectory("name"), root.lookup("name")]],
    [
      "listed",
      ({ server, root }) =>
        void [server.tree.createBuildDirectory("name"), root.readDirectory(0, () => true)],
    ],
  ] as const satisfies [string, (f: Awaited<ReturnType<typeof start>>) => void][]) {
    it(`once before one that it has ${how}`, async () => {
      await using f = await start();
      see(f);
      const visible = f.server.untilVisible("name");
      refreshes[0]!.resolve();
      await visible;
      await f.server.untilVisible("name");
      assert.equal(refreshes.length, 1);
    });
  }

  it("again before one that it asks for meanwhile, or if it has not forgotten", async () => {
    await using f = await start();
    f.root.lookup("name");
    f.root.lookup("meanwhile");
    const first = f.server.untilVisible("name");
    f.root.lookup("meanwhile");
    refreshes[0]!.resolve();
    await first;
    const second = f.server.untilVisible("meanwhile");
    refreshes[1]!.reject(new MountError("nobody answers", "EIO"));
    await assert.rejects(second, /nobody answers/);
    const third = f.server.untilVisible("meanwhile");
    refreshes[2]!.resolve();
    await third;
  });

  it("before every one once it may remember too many", async () => {
    await using f = await start();
    for (let index = 0; index < 5000; index++) {
      f.root.lookup(`${index}`);
    }
    const visible = f.server.untilVisible("new");
    refreshes[0]!.resolve();
    await visible;
    await f.server.untilVisible("new");
    assert.equal(refreshes.length, 1);
  });
});

describe("syncing a build directory", () => {
  /** The kernel says once that a write has failed, to whoever asks next. */
  async function start(test: TestContext) {
    const failures: Error[] = [];
    const server = await startServer(async () => {
      const failure = failures.shift();
      if (failure !== undefined) {
        throw failure;
      }
    });
    test.after(() => server[Symbol.asyncDispose]());
    return { server, failWith: (error: Error) => void failures.push(error) };
  }
  const lost = new WriteBackError("something is lost", "ECANCELED");
  const exceed = async (server: BuildDirectoryServer) => {
    const build = server.tree.createBuildDirectory("guilty", { quota: { maximumSizeBytes: 1 } });
    await assert.rejects(build.createFile(["file"], Buffer.from("12")));
    return build;
  };

  it("succeeds although a write has failed, if the tree has told whose it was", async (test) => {
    const { server, failWith } = await start(test);
    failWith(lost);
    await exceed(server);
    await server.sync();
  });

  it("succeeds although a write to what is gone has failed", async (test) => {
    const { server, failWith } = await start(test);
    const build = server.tree.createBuildDirectory("cancelled");
    const { handle } = await build.createFile(["file"]);
    await build.remove();
    assert.equal(server.tree.resolve(handle), undefined);
    failWith(lost);
    await server.sync();
  });

  it("fails if the tree has refused nothing since the kernel was last asked", async (test) => {
    const { server, failWith } = await start(test);
    await exceed(server);
    await server.sync();
    failWith(lost);
    await assert.rejects(server.sync(), lost);
  });

  it("fails if the mount cannot be synced, whatever was refused", async (test) => {
    const { server, failWith } = await start(test);
    await exceed(server);
    failWith(new MountError("somebody has unmounted it", "ENOENT"));
    await assert.rejects(server.sync(), { code: "ENOENT" });
  });
});
