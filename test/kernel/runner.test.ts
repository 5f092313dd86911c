import assert from "node:assert/strict";
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it, type TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { create } from "@bufbuild/protobuf";
import { bbRunnerSettings } from "../../src/config/bb-runner/application.ts";
import { createClient } from "../../src/grpc/client.ts";
import { openChannel } from "../../src/grpc/endpoint.ts";
import { isMounted, NfsMount, shareMounts } from "../../src/mount/index.ts";
import { MemoryFileSystem, NfsServer } from "../../src/nfs/index.ts";
import { ApplicationConfigurationSchema } from "../../src/proto/gen/buildbarn/configuration/bb_runner/bb_runner_pb.ts";
import { Runner } from "../../src/proto/gen/buildbarn/runner/runner_pb.ts";
import { Code } from "../../src/proto/gen/google/rpc/code_pb.ts";
import { Runner as RunnerWithoutServer } from "../../src/runner/runner.ts";
import { copyPrograms } from "../unit/runner/root-file-system.ts";
import { unmountVolume } from "./volume.ts";

const inKernel = process.env.IN_KERNEL ? { timeout: 300_000 } : { skip: "run it by npm run in-kernel" };
const run = promisify(execFile);
const mountedServer = fileURLToPath(new URL("./mounted-server.ts", import.meta.url));
const main = fileURLToPath(new URL("../../src/runner/main.ts", import.meta.url));

import { Spawner } from "../../src/runner/spawn/spawner.ts";

/** Undone in reverse order. */
function makeScope(test: TestContext): AsyncDisposableStack {
  const scope = new AsyncDisposableStack();
  test.after(() => scope.disposeAsync());
  return scope;
}

/** A volume as a worker's and a runner's container share it: its mounts are seen elsewhere. */
async function makeVolume(scope: AsyncDisposableStack): Promise<string> {
  const volume = mkdtempSync(join(tmpdir(), "volume-"));
  await shareMounts(volume);
  scope.defer(async () => {
    await unmountVolume(volume);
    rmSync(volume, { recursive: true });
  });
  mkdirSync(join(volume, "build"));
  return volume;
}

/** bb_runner in a mount namespace of its own that has `volume` with the given propagation. */
async function startRunnerElsewhere(
  scope: AsyncDisposableStack,
  volume: string,
  propagation: "slave" | "private",
) {
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
  scope.defer(async () => {
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
    if (line.includes("runner ready")) {
      break;
    }
    console.error(line);
  }
  runner.stderr.pipe(process.stderr);
}

/**
 * Mounts an NFS server of this process at VOLUME/build, with one action's root in it: a shell, some programs, and
 * /dev/null and zero. This process must not touch the mount synchronously.
 */
async function mountBuildDirectory(scope: AsyncDisposableStack, volume: string): Promise<NfsMount> {
  const server = new NfsServer({ fileSystem: new MemoryFileSystem() });
  const port = await server.listen();
  const mountPath = join(volume, "build");
  const mount = await NfsMount.mount({ port, serverPath: "/", mountPath, version: "4.2" });
  scope.defer(async () => {
    await mount.unmount();
    await server.close();
  });
  const root = mkdtempSync(join(tmpdir(), "root-"));
  scope.defer(() => rmSync(root, { recursive: true }));
  copyPrograms(root, ["/bin/sh", "/bin/ls", "/bin/cat", "/usr/bin/head", "/usr/bin/od"]);
  mkdirSync(join(root, "dev"));
  execFileSync("mknod", ["-m", "666", join(root, "dev/null"), "c", "1", "3"]);
  execFileSync("mknod", ["-m", "666", join(root, "dev/zero"), "c", "1", "5"]);
  await run("mkdir", [join(mountPath, "1")]);
  await run("cp", ["-a", root, join(mountPath, "1/root")]);
  return mount;
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
    const scope = makeScope(test);
    const volume = await makeVolume(scope);
    const { client, runner } = await startRunnerElsewhere(scope, volume, "slave");
    await assert.rejects(client.checkReadiness({ path: "1" }), { code: Code.INTERNAL });
    await mountBuildDirectory(scope, volume);
    await client.checkReadiness({ path: "1" });

    const script = "echo lost >/dev/null; head -c 4 /dev/zero | od -An -tx1; ls /; cat missing";
    const response = await client.run(request(script));
    assert.equal(response.exitCode, 1n);
    const { stdout: errors } = await run("cat", [join(volume, "build/1/stderr")]);
    assert.equal(errors, "cat: missing: No such file or directory\n");
    const { stdout } = await run("cat", [join(volume, "build/1/stdout")]);
    const [zeroes, ...names] = stdout.trimEnd().split("\n");
    assert.equal(zeroes, " 00 00 00 00");
    assert.ok(names.includes("dev") && !names.includes("proc"), names.join(" "));

    const exited = once(runner, "exit");
    runner.kill("SIGTERM");
    assert.deepEqual(await exited, [0, null]);
  });

  it("that does not see it says so, and what to do", async (test) => {
    const scope = makeScope(test);
    const volume = await makeVolume(scope);
    const { client } = await startRunnerElsewhere(scope, volume, "private");
    await mountBuildDirectory(scope, volume);
    await assert.rejects(client.checkReadiness({ path: "1" }), {
      code: Code.INTERNAL,
      details: /"1" is not there .* mounted "shared" .* "slave"/,
    });
  });
});

describe("a runner whose build directory's server does not answer", inKernel, () => {
  it("says so when asked, and is not held up", async (test) => {
    const scope = makeScope(test);
    const volume = await makeVolume(scope);
    const buildDirectory = join(volume, "build");
    const server = spawn(process.execPath, [mountedServer, buildDirectory], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    scope.defer(async () => {
      server.kill("SIGKILL");
      while (isMounted(buildDirectory)) {
        await setTimeout(20);
      }
    });
    await once(server.stdout, "data");
    server.kill("SIGSTOP");
    const configuration = create(ApplicationConfigurationSchema, {
      buildDirectoryPath: buildDirectory,
      grpcServers: [
        { listenPaths: ["/unused"], authenticationPolicy: { policy: { case: "allow", value: {} } } },
      ],
    });
    const spawner = scope.use(new Spawner());
    const runner = new RunnerWithoutServer(bbRunnerSettings(configuration), spawner, {
      readinessMilliseconds: 200,
    });
    const { signal } = new AbortController();
    const never = Promise.all(Array.from({ length: 8 }, () => runner.checkReadiness("x", signal)));
    await assert.rejects(never, {
      code: Code.UNAVAILABLE,
      message: /no answer from the file system at .*build\/x/,
    });
    // All of the thread pool is free.
    await Promise.all(Array.from({ length: 8 }, () => stat(volume)));
  });
});
