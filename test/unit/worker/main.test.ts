import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import { MountHelper } from "../../../src/mount/mount-helper.ts";

const program = join(import.meta.dirname, "../../../src/worker/main.ts");

function configuration(folder: string, mountPath: string): string {
  const grpc = { grpc: { client: { address: `unix:${folder}/server` } } };
  return JSON.stringify({
    scheduler: { address: `unix:${folder}/server` },
    blobstore: { contentAddressableStorage: grpc, actionCache: grpc },
    filePool: { blockDevice: { file: { path: join(folder, "pool"), sizeBytes: 1e9 } } },
    buildDirectories: [
      {
        virtual: { mount: { mountPath, nfsv4: { linux: {} } } },
        runners: [{ endpoint: { address: `unix:${folder}/runner` }, concurrency: 1 }],
      },
    ],
    maximumMessageSizeBytes: 1 << 20,
  });
}

/** As soon as a process has a child of this name. */
async function untilChild(pid: number, name: string): Promise<void> {
  for (;;) {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ").filter(Boolean);
    if (children.some((child) => readFileSync(`/proc/${child}/comm`, "latin1") === `${name}\n`)) {
      return;
    }
    await setTimeout(1);
  }
}

/** bb_worker in a folder of its own, on a mount path that another process has, so that it does not come to mounting. */
async function prepare(test: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "worker-main-"));
  test.after(() => rmSync(folder, { recursive: true }));
  const mountPath = join(folder, "build");
  const other = new MountHelper();
  test.after(() => other.close());
  assert.equal(await other.lock(`${mountPath}.lock`, "another worker"), "");
  writeFileSync(join(folder, "worker.json"), configuration(folder, mountPath));
  const start = (...options: string[]) => {
    const worker = spawn(process.execPath, [program, ...options, join(folder, "worker.json")], {
      stdio: ["ignore", "inherit", "pipe"],
    });
    test.after(() => worker.kill("SIGKILL"));
    let log = "";
    worker.stderr.on("data", (chunk) => {
      log += chunk;
    });
    return { worker, closed: once(worker, "close"), log: () => log };
  };
  return { folder, start };
}

describe("bb_worker", { timeout: 30_000 }, () => {
  it("overwrites what lies where its blobs go only if it is told to", async (test) => {
    const { folder, start } = await prepare(test);
    const blobs = join(folder, "pool.blobs");
    writeFileSync(blobs, "somebody's");
    const refused = start();
    assert.deepEqual(await refused.closed, [1, null]);
    assert.match(refused.log(), /pool\.blobs has contents that are not this worker's.*--reformat/);
    assert.equal(readFileSync(blobs, "latin1"), "somebody's");
    for (const options of [["--reformat"], []]) {
      const { worker, closed, log } = start(...options);
      await untilChild(worker.pid!, "bb_mount");
      worker.kill("SIGTERM");
      assert.deepEqual(await closed, [0, null], log());
    }
  });

  it("that is told to stop while it waits to mount ends with 0, and leaves nothing", async (test) => {
    const { folder, start } = await prepare(test);
    const { worker, closed, log } = start();
    assert.ok(worker.pid);
    await untilChild(worker.pid, "bb_mount");
    worker.kill("SIGTERM");
    assert.deepEqual(await closed, [0, null], log());
    assert.match(log(), /stopped before it was ready reason=SIGTERM/);
    assert.deepEqual(readdirSync(folder).sort(), [
      "build.lock",
      "pool",
      "pool.blobs",
      "pool.blobs.state",
      "worker.json",
    ]);
  });
});
