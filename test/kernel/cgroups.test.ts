import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { createClient } from "../../src/grpc/client.ts";
import { openChannel } from "../../src/grpc/endpoint.ts";
import { CgroupResourceUsageSchema } from "../../src/proto/gen/bb_worker_nfs4/bb_runner/bb_runner_pb.ts";
import { Runner } from "../../src/proto/gen/buildbarn/runner/runner_pb.ts";
import { Program } from "./program.ts";

const ROOT = "/sys/fs/cgroup";
const inKernel = !process.env.IN_KERNEL
  ? { skip: "run it by npm run in-kernel" }
  : existsSync(join(ROOT, "cgroup.subtree_control"))
    ? { timeout: 300_000 }
    : { skip: `${ROOT} is not version 2` };

const main = join(import.meta.dirname, "../../src/runner/main.ts");

/** A cgroup that is a runner's own, as a container's or a unit's is, and a build directory. */
function makePlace(test: TestContext) {
  writeFileSync(join(ROOT, "cgroup.subtree_control"), "+pids +memory +cpu");
  const cgroup = mkdtempSync(join(ROOT, "own-"));
  const folder = mkdtempSync(join(tmpdir(), "cgroups-"));
  mkdirSync(join(folder, "build/1/root"), { recursive: true });
  test.after(() => {
    rmSync(folder, { recursive: true });
    const runners = join(cgroup, "bb_runner");
    if (existsSync(runners)) {
      rmdirSync(runners);
    }
    rmdirSync(cgroup);
  });
  return { cgroup, folder };
}

async function startRunner(
  test: TestContext,
  { cgroup, folder }: ReturnType<typeof makePlace>,
  bbWorkerNfs4: object,
) {
  const socket = join(folder, "socket");
  const configuration = join(folder, "bb_runner.json");
  writeFileSync(
    configuration,
    JSON.stringify({
      buildDirectoryPath: join(folder, "build"),
      grpcServers: [{ listenPaths: [socket], authenticationPolicy: { allow: {} } }],
      bbWorkerNfs4,
    }),
  );
  // A later one is started by what an earlier one has moved.
  const moved = join(cgroup, "bb_runner");
  const enter = `echo $$ > ${existsSync(moved) ? moved : cgroup}/cgroup.procs && exec "$@"`;
  const runner = new Program(["sh", "-c", enter, "sh", process.execPath, main, configuration]);
  test.after(() => runner.end("SIGKILL"));
  await runner.line(/runner ready/);
  const channel = openChannel({ address: `unix:${socket}` });
  let count = 0;
  const run = async (script: string) => {
    const name = `1/${runner.process.pid}-${++count}`;
    const response = await createClient(Runner, channel).run({
      arguments: ["sh", "-c", script],
      environmentVariables: { PATH: "/usr/bin:/bin" },
      stdoutPath: name,
      stderrPath: `${name}.err`,
      inputRootDirectory: "1/root",
    });
    return { response, output: readFileSync(join(folder, "build", name), "utf8") };
  };
  return { runner, run, end: () => channel.close() };
}

const commandsIn = (cgroup: string) => readdirSync(cgroup).filter((name) => name.startsWith("bb_runner_"));

describe("a runner with a cgroup of its own", inKernel, () => {
  it("gives each command one with the configured limits, reports the peak, and removes it", async (test) => {
    const place = makePlace(test);
    const settings = { maximumProcesses: 50, maximumMemoryBytes: 100_000_000, cpuWeight: 20 };
    const { runner, run, end } = await startRunner(test, place, settings);
    const { pid } = runner.process;
    const parent = join(place.cgroup, `bb_runner_commands.${pid}`);
    const helper = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim();
    const own = readFileSync(join(place.cgroup, "bb_runner/cgroup.procs"), "utf8").trim().split("\n");
    assert.deepEqual(own.sort(), [`${pid}`, helper].sort());

    // The command sees its own as the root of all, and the machine's are read-only.
    const files = ["pids.max", "memory.max", "memory.oom.group", "cpu.weight"].map(
      (name) => `${parent}/1/${name}`,
    );
    const { response, output } = await run(
      `cat /proc/self/cgroup ${files.join(" ")}; echo 0 2>/dev/null > ${ROOT}/cgroup.procs || echo held`,
    );
    const page = 4096;
    const memory = Math.floor(settings.maximumMemoryBytes / page) * page;
    assert.equal(output, `0::/\n50\n${memory}\n1\n20\nheld\n`);
    const peak = anyUnpack(response.resourceUsage[1]!, CgroupResourceUsageSchema)?.memoryPeakBytes;
    assert.ok(peak !== undefined && peak > 100_000n && peak < 100_000_000n, String(peak));

    const daemons = await run("sleep 1000 & (setsid sleep 1000 &) ; :");
    assert.equal(daemons.response.exitCode, 0n);
    assert.deepEqual(
      readdirSync(parent).filter((name) => /^\d/.test(name)),
      [],
    );
    end();
    assert.equal(await runner.end("SIGTERM"), 0);
    assert.deepEqual(commandsIn(place.cgroup), []);
  });

  it("survives a fork bomb, and does the next command at once", async (test) => {
    const place = makePlace(test);
    const { runner, run, end } = await startRunner(test, place, { maximumProcesses: 60 });
    // The shell that begins it ends when it cannot fork any more.
    const bomb = await run("b() { b | b & b; }; (b) 2>/dev/null; kill -KILL $$");
    assert.equal(bomb.response.exitCode, -1n);
    assert.equal((await run("echo next")).output, "next\n");
    end();
    await runner.end("SIGTERM");
    assert.deepEqual(commandsIn(place.cgroup), []);
  });

  it("removes what a runner that was killed has left", async (test) => {
    const place = makePlace(test);
    const first = await startRunner(test, place, {});
    first.end();
    await first.runner.end("SIGKILL");
    assert.equal(commandsIn(place.cgroup).length, 1);
    rmSync(join(place.folder, "socket"), { force: true });
    const second = await startRunner(test, place, {});
    assert.deepEqual(commandsIn(place.cgroup), [`bb_runner_commands.${second.runner.process.pid}`]);
    second.end();
    await second.runner.end("SIGTERM");
    assert.deepEqual(commandsIn(place.cgroup), []);
  });

  it("removes later what it cannot remove when it starts", async (test) => {
    const place = makePlace(test);
    const abandoned = join(place.cgroup, "bb_runner_commands.999999999");
    // Cannot go before what is in it, as one with a process that waits for a file server cannot.
    const held = join(abandoned, "1/held");
    mkdirSync(held, { recursive: true });
    const { runner, end } = await startRunner(test, place, {});
    const own = `bb_runner_commands.${runner.process.pid}`;
    assert.deepEqual(commandsIn(place.cgroup).sort(), ["bb_runner_commands.999999999", own].sort());
    rmdirSync(held);
    while (existsSync(abandoned)) {
      await setTimeout(50);
    }
    assert.deepEqual(commandsIn(place.cgroup), [own]);
    end();
    assert.equal(await runner.end("SIGTERM"), 0);
  });
});
