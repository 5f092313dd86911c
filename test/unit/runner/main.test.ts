import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { makeBuildDirectory } from "./root-file-system.ts";

const program = join(import.meta.dirname, "../../../src/runner/main.ts");

describe("bb_runner", { timeout: 30_000 }, () => {
  it("that is told to stop while it starts does so as at any other time", async (test) => {
    const folder = makeBuildDirectory(test);
    const socket = join(folder, "socket");
    const configuration = {
      buildDirectoryPath: folder,
      grpcServers: [{ listenPaths: [socket], authenticationPolicy: { allow: {} } }],
    };
    // It waits there until its configuration is written.
    const path = join(folder, "runner.json");
    execFileSync("mkfifo", [path]);
    const runner = spawn(process.execPath, [program, path], { stdio: "ignore" });
    test.after(() => runner.kill("SIGKILL"));
    const closed = once(runner, "close");
    const writer = await open(path, "w");
    runner.kill("SIGTERM");
    await writer.writeFile(JSON.stringify(configuration));
    await writer.close();
    assert.deepEqual(await closed, [0, null]);
    assert.ok(!existsSync(socket));
  });
});
