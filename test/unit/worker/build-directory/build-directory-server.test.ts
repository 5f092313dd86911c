import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import type { VirtualBuildDirectorySettings } from "../../../../src/config/bb-worker/build-directory.ts";
import { MountError, WriteBackError } from "../../../../src/mount/index.ts";
import { makeDigest, SHA256 } from "../../../../src/reapi/digest.ts";
import { createLog } from "../../../../src/telemetry/log.ts";
import { MemoryFilePool } from "../../../../src/vfs/index.ts";
import { BuildDirectoryServer } from "../../../../src/worker/build-directory/build-directory-server.ts";
import { FakeInputSource } from "../../vfs/fake-input-source.ts";

const startServer = (sync: () => Promise<void>) =>
  BuildDirectoryServer.start(
    { maximumWritableFileUploadDelay: 1000 } as VirtualBuildDirectorySettings,
    new FakeInputSource(),
    new MemoryFilePool(1),
    async () => ({
      lost: new Promise(() => {}),
      sync,
      refreshNames: async () => {},
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
