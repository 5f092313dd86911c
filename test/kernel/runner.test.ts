import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { shareMounts } from "../../src/mount/index.ts";
import { openChannel } from "../../src/proto/endpoint.ts";
import { Runner } from "../../src/proto/gen/buildbarn/runner/runner_pb.ts";
import { Code } from "../../src/proto/gen/google/rpc/code_pb.ts";
import { createClient } from "../../src/proto/grpc.ts";
import { copyPrograms } from "../unit/runner/root-file-system.ts";

const inKernel = process.env.IN_KERNEL ? {} : { skip: "run it by npm run in-kernel" };
const main = fileURLToPath(new URL("../../src/runner/main.ts", import.meta.url));

/** A volume as a worker's and a runner's container share it: its mounts are seen elsewhere. */
async function makeVolume(test: TestContext): Promise<string> {
  const volume = mkdtempSync(join(tmpdir(), "volume-"));
  await shareMounts(volume);
  test.after(() => {
    execFileSync("umount", ["-R", volume]);
    rmSync(volume, { recursive: true });
  });
  return volume;
}

/** bb_runner in a mount namespace of its own that has `volume` with the given propagation. */
async function startRunnerElsewhere(test: TestContext, volume: string, propagation: "slave" | "private") {
  const socket = join(volume, "runner");
  const configuration = join(volume, "bb_runner.json");
  writeFileSync(
    configuration,
    JSON.stringify({
      buildDirectoryPath: join(volume, "build"),
      grpcServers: [{ listenPaths: [socket], authenticationPolicy: { allow: {} } }],
      chrootIntoInputRoot: true,
    }),
  );
  const runner = spawn(
    "unshare",
    ["--mount", "--propagation", propagation, process.execPath, main, configuration],
    { stdio: ["ignore", "inherit", "pipe"] },
  );
  const channel = openChannel({ address: `unix:${socket}` });
  test.after(async () => {
    channel.close();
    if (runner.exitCode === null && runner.signalCode === null) {
      runner.kill("SIGKILL");
      await once(runner, "exit");
    }
  });
  await untilReady(runner);
  return { runner, client: createClient(Runner, channel) };
}

async function untilReady(runner: ChildProcess): Promise<void> {
  assert.ok(runner.stderr);
  for await (const line of createInterface(runner.stderr)) {
    if (line.includes("runner ready")) break;
    console.error(line);
  }
  runner.stderr.pipe(process.stderr);
}

/** Mounts a file system at VOLUME/build with one action's root: a shell, some programs, and /dev/null and zero. */
function mountBuildDirectory(volume: string): void {
  const root = join(volume, "build/1/root");
  execFileSync("mount", ["-t", "tmpfs", "tmpfs", join(volume, "build")]);
  mkdirSync(join(root, "dev"), { recursive: true });
  copyPrograms(root, ["/bin/sh", "/bin/ls", "/bin/head", "/usr/bin/od"]);
  execFileSync("mknod", ["-m", "666", join(root, "dev/null"), "c", "1", "3"]);
  execFileSync("mknod", ["-m", "666", join(root, "dev/zero"), "c", "1", "5"]);
}

const request = (script: string) => ({
  arguments: ["sh", "-c", script],
  environmentVariables: { PATH: "/usr/bin:/bin" },
  stdoutPath: "1/stdout",
  stderrPath: "1/stderr",
  inputRootDirectory: "1/root",
});

describe("a runner in another mount namespace", inKernel, () => {
  it("sees a mount made after both have started, and runs a chrooted command with devices in it", async (test) => {
    const volume = await makeVolume(test);
    mkdirSync(join(volume, "build"));
    const { client, runner } = await startRunnerElsewhere(test, volume, "slave");
    await assert.rejects(client.checkReadiness({ path: "1" }), { code: Code.FAILED_PRECONDITION });
    mountBuildDirectory(volume);
    await client.checkReadiness({ path: "1" });

    const script = "echo lost >/dev/null; head -c 4 /dev/zero | od -An -tx1; ls /";
    const response = await client.run(request(script));
    assert.equal(readFileSync(join(volume, "build/1/stderr"), "utf8"), "");
    assert.equal(response.exitCode, 0n);
    const [zeroes, ...names] = readFileSync(join(volume, "build/1/stdout"), "utf8").trimEnd().split("\n");
    assert.equal(zeroes, " 00 00 00 00");
    assert.ok(names.includes("dev") && !names.includes("proc"), names.join(" "));
    assert.equal(readFileSync(join(volume, "build/1/root/dev/null"), "latin1"), "");

    const exited = once(runner, "exit");
    runner.kill("SIGTERM");
    assert.deepEqual(await exited, [0, null]);
  });

  it("that does not see it says so, and what to do", async (test) => {
    const volume = await makeVolume(test);
    mkdirSync(join(volume, "build"));
    const { client } = await startRunnerElsewhere(test, volume, "private");
    mountBuildDirectory(volume);
    await assert.rejects(client.checkReadiness({ path: "1" }), {
      code: Code.FAILED_PRECONDITION,
      details: /"1" is not there .* mounted "shared" .* "slave"/,
    });
    assert.ok(existsSync(join(volume, "build/1")));
  });
});
