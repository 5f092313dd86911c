import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import type { VirtualBuildDirectorySettings } from "../../src/config/bb-worker/build-directory.ts";
import { WriteBackError } from "../../src/mount/index.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { type BuildDirectory, type Fault, type FilePool, MemoryFilePool } from "../../src/vfs/index.ts";
import { BuildDirectoryServer } from "../../src/worker/build-directory/build-directory-server.ts";
import { mountByNfs } from "../../src/worker/build-directory/nfs-mounted-tree.ts";
import { FakeInputSource } from "../unit/vfs/fake-input-source.ts";
import { inKernel, sh } from "./mounted-file-systems.ts";

const QUOTA_BYTES = 100_000;

/** Refuses whatever is too long for memory, as a file system does whose files cannot be that long. */
class PoolOfShortFiles extends MemoryFilePool {
  override open(): ReturnType<FilePool["open"]> {
    throw Object.assign(new Error("too large"), { code: "EFBIG" });
  }
}

interface TestedAction {
  readonly build: BuildDirectory;
  readonly path: string;
  readonly faults: Fault[];
}

describe("what the kernel writes back late", inKernel, () => {
  let folder: string;
  let scope: AsyncDisposableStack;
  let server: BuildDirectoryServer;

  const start = async (pool: FilePool) => {
    scope = new AsyncDisposableStack();
    folder = mkdtempSync(join(tmpdir(), "write-back-"));
    scope.defer(() => rmSync(folder, { recursive: true }));
    const settings: Partial<VirtualBuildDirectorySettings> = {
      mountPath: join(folder, "mount"),
      mountOptions: [],
      nfsVersion: "4.2",
      maximumWritableFileUploadDelay: 60_000,
    };
    server = await BuildDirectoryServer.start(
      settings as VirtualBuildDirectorySettings,
      new FakeInputSource(),
      pool,
      mountByNfs,
      createLog("error", console.error),
    );
    scope.use(server);
  };
  beforeEach(() => start(new MemoryFilePool(100e6)));
  afterEach(() => scope.disposeAsync());

  function makeAction(name: string): TestedAction {
    const faults: Fault[] = [];
    const build = server.tree.createBuildDirectory(name, {
      quota: { maximumSizeBytes: QUOTA_BYTES },
      onFault: (fault) => faults.push(fault),
    });
    return { build, path: join(folder, "mount", name), faults };
  }

  /** A process that has written to a file and keeps it open. */
  async function startWriter({ path }: TestedAction, bytes = 3 * QUOTA_BYTES): Promise<ChildProcess> {
    const program = `
      const { openSync, writeSync } = require("node:fs");
      writeSync(openSync(${JSON.stringify(`${path}/big`)}, "w"), Buffer.alloc(${bytes}));
      console.log("written");
      process.stdin.resume();`;
    const writer = spawn(process.execPath, ["--eval", program], { stdio: ["pipe", "pipe", "inherit"] });
    scope.defer(() => void writer.kill("SIGKILL"));
    await once(writer.stdout!, "data");
    return writer;
  }

  const names = (faults: readonly Fault[]) => faults.map(({ name }) => name);

  it("and is over an action's quota fails that action, and none that is synced with it or after it", async () => {
    const guilty = makeAction("guilty");
    const innocent = makeAction("innocent");
    await startWriter(guilty);
    await sh("echo fine >file", innocent.path);
    assert.deepEqual(guilty.faults, []);
    await Promise.all([server.sync(), server.sync(), server.sync()]);
    await server.sync();
    assert.deepEqual([names(guilty.faults), names(innocent.faults)], [["QuotaExceededError"], []]);
    const file = await innocent.build.lookupPath(["file"]);
    assert.ok(file && "read" in file);
    assert.equal(Buffer.from(await file.read(0, 10)).toString(), "fine\n");
  });

  for (const [how, program] of [
    ["written through a map after close", "m = mmap.mmap(f.fileno(), 0); f.close(); m[:] = content"],
    ["written and not closed", "f.write(content)"],
  ]) {
    it(`keeps its file open until it is there: ${how}, by a process that is killed`, async () => {
      const content = "x".repeat(60_000);
      for (let round = 0; round < 2; round++) {
        const { build, path } = makeAction(`round-${round}`);
        const script = [
          "import mmap, os",
          "content = b'x' * 60000",
          "f = open('file', 'w+b', buffering=0); f.truncate(60000)",
          program,
          "os.kill(os.getpid(), 9)",
        ].join("\n");
        await sh(`python3 -c "${script}" || true`, path);
        if (build.openFiles > 0) {
          await server.sync();
        }
        const file = await build.lookupPath(["file"]);
        assert.ok(file && "read" in file);
        assert.equal(Buffer.from(await file.read(0, 100_000)).toString(), content, `round ${round}`);
        await build.remove();
      }
    });
  }

  it("and was refused before the sync fails nobody's", async () => {
    const guilty = makeAction("guilty");
    await assert.rejects(sh("head -c 300000 /dev/zero >big", guilty.path), /quota exceeded/i);
    assert.deepEqual(names(guilty.faults), ["QuotaExceededError"]);
    makeAction("innocent");
    await server.sync();
  });

  it("to a build directory that is gone fails nobody's", async () => {
    const cancelled = makeAction("cancelled");
    await startWriter(cancelled);
    await cancelled.build.remove();
    await server.sync();
    assert.deepEqual(cancelled.faults, []);
  });

  it("and is lost without anybody's being told fails whoever has it synced", async () => {
    await scope.disposeAsync();
    await start(new PoolOfShortFiles(100e6));
    const action = makeAction("unlucky");
    await startWriter(action, 0.8 * QUOTA_BYTES);
    await assert.rejects(server.sync(), WriteBackError);
    await server.sync();
  });
});
