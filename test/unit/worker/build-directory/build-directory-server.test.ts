import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { VirtualBuildDirectorySettings } from "../../../../src/config/bb-worker/build-directory.ts";
import { makeDigest, SHA256 } from "../../../../src/reapi/digest.ts";
import { createLog } from "../../../../src/telemetry/log.ts";
import { MemoryFilePool } from "../../../../src/vfs/index.ts";
import { BuildDirectoryServer } from "../../../../src/worker/build-directory/build-directory-server.ts";
import { FakeInputSource } from "../../vfs/fake-input-source.ts";

describe("names of build directories", () => {
  const digest = (hash: string) => makeDigest("", SHA256, hash, 1);
  const hash = `0123456789abcdef${"1".repeat(48)}`;

  const start = () =>
    BuildDirectoryServer.start(
      { maximumWritableFileUploadDelay: 1000 } as VirtualBuildDirectorySettings,
      new FakeInputSource(),
      new MemoryFilePool(1),
      async () => ({
        lost: new Promise(() => {}),
        sync: async () => {},
        refreshNames: async () => {},
        statistics: () => assert.fail("nobody asks"),
        close: async () => {},
      }),
      createLog("error", () => {}),
    );

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
