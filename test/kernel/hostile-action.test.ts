import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout } from "node:timers/promises";
import { CAPABILITIES, SYSTEM_CALLS } from "../../src/config/bb-runner/confinement.ts";
import { helperPath } from "../../src/native/helper.ts";
import type { ExecuteResponse } from "../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../src/proto/gen/google/rpc/code_pb.ts";
import type { Digest } from "../../src/reapi/digest.ts";
import { WorkerCluster } from "./worker-cluster.ts";

const inKernel = process.env.IN_KERNEL ? { timeout: 300_000 } : { skip: "run it by npm run in-kernel" };

const MAXIMUM_PROCESSES = 40;
const MAXIMUM_MEBIBYTES = 64;
const limits = { maximumProcesses: MAXIMUM_PROCESSES, maximumMemoryBytes: MAXIMUM_MEBIBYTES * 2 ** 20 };
const otherUser = { runCommandsAs: { userId: 1234, groupId: 1234 } };
const notChrooted = { chrootIntoInputRoot: false };

/** What runs actions, and what later ones rely on. A checkout in a folder that commands may write is not safe. */
const machineFiles = [
  helperPath("bb_spawn"),
  join(import.meta.dirname, "../../src/runner/main.ts"),
  "/etc/passwd",
  ...new Set(execFileSync("ldd", ["/bin/sh"], { encoding: "utf8" }).match(/\/\S+/g)),
].filter((path) => !/^(\/var)?\/tmp\//.test(path));

let folder: string;
let program: string;
before(() => {
  if (!process.env.IN_KERNEL) {
    return;
  }
  folder = mkdtempSync(join(tmpdir(), "hostile-action-"));
  program = join(folder, "hostile-action");
  const sources = ["hostile-action.c", "hostile-parts.c"].map((name) => join(import.meta.dirname, name));
  execFileSync("cc", ["-static", "-Wall", "-Wextra", "-Werror", "-o", program, ...sources]);
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** Worker and runner, and an input root with the program. */
class Target {
  readonly cluster: WorkerCluster;
  readonly #inputRoot: Digest;
  readonly #isChrooted: boolean;

  private constructor(cluster: WorkerCluster, inputRoot: Digest, isChrooted: boolean) {
    this.cluster = cluster;
    this.#inputRoot = inputRoot;
    this.#isChrooted = isChrooted;
  }

  static async start(scope: AsyncDisposableStack, runnerConfiguration: object): Promise<Target> {
    const cluster = await WorkerCluster.start(
      { after: (work: () => Promise<void>) => scope.defer(work) },
      { runnerConfiguration },
    );
    await cluster.ready();
    const { digest } = await cluster.rootWithEntries([
      { path: "hostile-action", type: "file", isExecutable: true, content: readFileSync(program) },
      { path: "proc", type: "directory" },
    ]);
    return new Target(cluster, digest, !("chrootIntoInputRoot" in runnerConfiguration));
  }

  /** Has the program make an attack. */
  attack(...arguments_: string[]): Promise<ExecuteResponse> {
    const path = this.#isChrooted ? "/hostile-action" : "./hostile-action";
    return this.#run([path, ...arguments_]);
  }

  script(script: string): Promise<ExecuteResponse> {
    return this.#run(["sh", "-c", script]);
  }

  #run(arguments_: string[]): Promise<ExecuteResponse> {
    return this.cluster.run({ inputRoot: this.#inputRoot, command: { arguments: arguments_ } });
  }

  /** What a command that ended well has said. */
  async output(response: ExecuteResponse | Promise<ExecuteResponse>): Promise<string> {
    const { status, result } = await response;
    assert.equal(status, undefined, status?.message);
    assert.equal(result?.exitCode, 0, await this.cluster.text(result?.stderrDigest));
    return this.cluster.text(result.stdoutDigest);
  }

  /** How all attacks went, by their names. */
  async attacks(): Promise<Map<string, string>> {
    const files = this.#isChrooted ? [] : machineFiles;
    return report(await this.output(this.attack("attacks", ...files)));
  }
}

function report(text: string): Map<string, string> {
  const lines = text.trim().split("\n");
  return new Map(lines.map((line) => line.split(" ") as [string, string]));
}

const succeeded = (attacks: Map<string, string>) =>
  [...attacks].filter(([, how]) => how === "succeeded").map(([name]) => name);

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await setTimeout(10);
  }
}

function childrenOf(pid: number | undefined): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "latin1").trim();
  } catch {
    return "";
  }
}

/** The command of the only running action, once its program is the given one, and the first process of its namespace. */
async function runningCommand(
  { runner }: WorkerCluster,
  program: string,
): Promise<{ first: number; command: number }> {
  let found: { first: number; command: number } | undefined;
  await until(() => {
    // The helper, its process for the command, and the first process of the command's PID namespace.
    for (const first of childrenOf(runner.process.pid).flatMap(childrenOf).flatMap(childrenOf)) {
      const command = childrenOf(first).find((pid) => nameOf(pid) === program);
      found ??= command === undefined ? undefined : { first, command };
    }
    return found !== undefined;
  });
  return found!;
}

const kinds = {
  "chrooted, as root": {},
  "chrooted, as another user": otherUser,
  "not chrooted, as root": notChrooted,
  "not chrooted, as another user": { ...notChrooted, ...otherUser },
};
for (const [kind, configuration] of Object.entries(kinds)) {
  const isChrooted = !kind.startsWith("not");
  const isRoot = kind.endsWith("root");

  describe(`a hostile action that is ${kind}`, inKernel, () => {
    const scope = new AsyncDisposableStack();
    let target: Target;
    before(async () => {
      // With a network of its own in half of the kinds: what that holds is seen to succeed in the others.
      target = await Target.start(scope, {
        ...configuration,
        bbWorkerNfs4: { ...limits, ownNetwork: isChrooted },
      });
    });
    after(() => scope.disposeAsync());

    it("has no attack that succeeds", async () => {
      const attacks = await target.attacks();
      assert.ok(attacks.size > 60);
      assert.deepEqual(succeeded(attacks), []);
    });

    it("takes neither all processes nor all memory", async () => {
      const started = await target.output(target.attack("processes", String(MAXIMUM_PROCESSES * 5)));
      assert.match(started, /^processes \d+\n$/);
      const count = Number(started.split(" ")[1]);
      assert.ok(count > MAXIMUM_PROCESSES / 2 && count < MAXIMUM_PROCESSES, started);

      const { status, result } = await target.attack("memory", String(MAXIMUM_MEBIBYTES * 2));
      assert.equal(status, undefined, status?.message);
      assert.equal(result?.exitCode, -1);
      const modest = await target.output(target.attack("memory", String(MAXIMUM_MEBIBYTES / 2)));
      assert.equal(modest, `memory ${MAXIMUM_MEBIBYTES / 2}\n`);
    });

    it("does not make the helper's end its own", async () => {
      const killing = target.script("kill -KILL 1; exec sleep 1000");
      const { first } = await runningCommand(target.cluster, "sleep");
      process.kill(first, "SIGKILL");
      const { status } = await killing;
      assert.equal(status?.code, Code.INTERNAL, status?.message);
      assert.equal(await target.output(target.script("echo next")), "next\n");
    });

    it(`${isChrooted ? "does not reach" : "reaches"} another's abstract socket`, async () => {
      const listening = target.attack("listen", "hostile");
      const { first, command } = await runningCommand(target.cluster, "hostile-action");
      await until(() => readFileSync(`/proc/${command}/net/unix`, "latin1").includes("@hostile"));
      const found = await target.output(target.attack("connect", "hostile"));
      assert.equal(found, isChrooted ? "connect ECONNREFUSED\n" : "connect succeeded\n");
      if (isChrooted) {
        process.kill(first, "SIGKILL");
      }
      await listening;
    });

    it("leaves a worker that goes on after names, links and locks of all kinds", {
      skip: !isRoot,
    }, async () => {
      assert.equal(await target.output(target.attack("files", "250")), "files 250\n");
      assert.equal(await target.output(target.attack("locks", "500")), "locks 500\n");
      assert.equal(await target.output(target.script("echo next")), "next\n");
    });

    it("sees neither other actions nor the runner's socket", { skip: isChrooted }, async () => {
      const other = target.script("exec sleep 1000");
      const { first } = await runningCommand(target.cluster, "sleep");
      const seen = await target.output(target.script(`ls ${target.cluster.mountPath} | wc -l`));
      assert.equal(seen, "1\n");
      const reached = await target.output(target.attack("connect", target.cluster.socket));
      assert.doesNotMatch(reached, /succeeded/);
      process.kill(first, "SIGKILL");
      await other;
    });
  });
}

const everything = {
  additionalCapabilities: Object.keys(CAPABILITIES),
  additionalSystemCalls: SYSTEM_CALLS,
  writablePaths: ["/"],
};

/** What user-mode Linux does not have; and the helper, which is linked statically, has no libraries. */
const LACKING = ["load_kernel", "perf", "helper_libraries"];

describe("each of these attacks", inKernel, () => {
  const seen = new Set<string>();
  const all = new Set<string>();
  const note = (attacks: Map<string, string>) => {
    for (const name of attacks.keys()) {
      all.add(name);
    }
    for (const name of succeeded(attacks)) {
      seen.add(name);
    }
  };

  for (const [kind, configuration] of Object.entries({ chrooted: {}, "not chrooted": notChrooted })) {
    it(`succeeds where its bound is widened, or is held by others, ${kind}`, async () => {
      await using scope = new AsyncDisposableStack();
      const target = await Target.start(scope, { ...configuration, bbWorkerNfs4: everything });
      note(await target.attacks());
      assert.match(
        target.cluster.runner.lines.join("\n"),
        /bbWorkerNfs4\.additionalCapabilities=\S*SYS_ADMIN/,
      );
    });
  }

  it("else succeeds where nothing holds it", () => {
    const bare = (command: string) =>
      report(
        execFileSync("unshare", ["--mount", "sh", "-c", command, program, ...machineFiles], {
          encoding: "utf8",
          cwd: folder,
        }),
      );
    note(bare('"$0" attacks "$@"'));
    note(bare("chroot . /hostile-action attacks"));
    assert.deepEqual(
      [...all].filter((name) => !seen.has(name)),
      LACKING,
    );
  });
});
