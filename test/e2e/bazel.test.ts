import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, suite, test } from "node:test";

/**
 * A real Bazel against `npm start`. What actions wait for each other proves is that they run at the same time: they
 * share the file system of the machine that worker and runner run on.
 */
suite("Bazel builds on the cluster", () => {
  const repository = join(import.meta.dirname, "../..");
  const [bazel] = globSync(join(repository, "node_modules/@bazel/bazel-linux_x64/bazel-*"));
  const layers = 6;
  const rulesPerLayer = 10;
  const atOnce = 8;
  let folder: string;
  let cluster: ChildProcess;
  let address: string;

  function startCluster(listen: string): ChildProcess {
    return spawn(
      process.execPath,
      [
        join(repository, "src/cluster/main.ts"),
        "--data",
        join(folder, "data"),
        "--listen",
        listen,
        "--concurrency",
        String(atOnce),
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
  }

  /** Runs Bazel in the workspace and gives what it reports. */
  function runBazel(...args: string[]): Promise<string> {
    const startupOptions = [
      `--output_user_root=${join(folder, "bazel")}`,
      "--max_idle_secs=60",
      "--nosystem_rc",
      "--nohome_rc",
    ];
    return new Promise((resolve, reject) =>
      execFile(
        bazel!,
        [...startupOptions, ...args],
        { cwd: join(folder, "workspace") },
        (error, stdout, stderr) =>
          error ? reject(new Error(`${error.message}\n${stdout}`)) : resolve(stderr),
      ),
    );
  }

  function build(...targets: string[]): Promise<string> {
    return runBazel(
      "build",
      `--remote_executor=grpc://${address}`,
      "--spawn_strategy=remote",
      `--jobs=${atOnce}`,
      "--curses=no",
      "--verbose_failures",
      ...targets,
    );
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "bazel-test-"));
    await mkdir(join(folder, "workspace/at-once"), { recursive: true });
    await writeFile(join(folder, "workspace/WORKSPACE"), "");
    await writeFile(join(folder, "workspace/seed.txt"), "seed\n");
    await writeFile(join(folder, "workspace/BUILD"), layeredRules(layers, rulesPerLayer));
    await writeFile(
      join(folder, "workspace/at-once/BUILD"),
      waitingRules(atOnce, join(folder, "meeting-point")),
    );
    cluster = startCluster("localhost:0");
    address = await addressOf(cluster);
  });

  after(async () => {
    await runBazel("shutdown").catch(() => {});
    if (cluster.exitCode === null) {
      cluster.kill("SIGKILL");
      await once(cluster, "exit");
    }
    await rm(folder, { recursive: true, force: true });
  });

  test("60 rules, each depending on two others, with the right outputs", async () => {
    const report = await build("//:all");
    assert.match(report, /60 processes: 60 remote\./);
    for (let layer = 0; layer < layers; layer++) {
      for (let rule = 0; rule < rulesPerLayer; rule++) {
        const output = await readFile(join(folder, `workspace/bazel-bin/${layer}_${rule}.txt`), "utf8");
        assert.equal(output, expectedOutput(layer, rule, rulesPerLayer), `${layer}_${rule}`);
      }
    }
  });

  test("after bazel clean everything is a cache hit", async () => {
    await runBazel("clean");
    assert.match(await build("//:all"), /60 processes: 60 remote cache hit\./);
  });

  test("--jobs=8 runs 8 actions at once", async () => {
    assert.match(await build("//at-once:all"), /8 processes: 8 remote\./);
  });

  test("a second cluster on the same port says that it is in use", async () => {
    const second = startCluster(address);
    let said = "";
    second.stderr!.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    const [status] = await once(second, "close");
    assert.equal(status, 1);
    assert.match(said, /cannot listen on localhost:\d+: something else listens there/);
  });

  test("SIGTERM stops the cluster in order", async () => {
    cluster.kill("SIGTERM");
    const [status] = await once(cluster, "exit");
    assert.equal(status, 0);
  });
});

/** Resolves when the cluster says that it is ready. */
async function addressOf(cluster: ChildProcess): Promise<string> {
  let said = "";
  cluster.stderr!.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  for await (const line of createInterface(cluster.stdout!)) {
    const found = /--remote_executor=grpc:\/\/(\S+)/.exec(line);
    if (found) {
      cluster.stdout!.resume();
      return found[1]!;
    }
  }
  throw new Error(`the cluster did not start: ${said}`);
}

/** Rules in layers: each joins its two predecessors of the layer before, and adds its own name. */
function layeredRules(layers: number, rulesPerLayer: number): string {
  const rules = [];
  for (let layer = 0; layer < layers; layer++) {
    for (let rule = 0; rule < rulesPerLayer; rule++) {
      const sources =
        layer === 0 ? ["seed.txt"] : [rule, (rule + 1) % rulesPerLayer].map((n) => `${layer - 1}_${n}.txt`);
      rules.push(genrule(`${layer}_${rule}`, sources, `cat $(SRCS) > $@ && echo ${layer}_${rule} >> $@`));
    }
  }
  return rules.join("\n");
}

function expectedOutput(layer: number, rule: number, rulesPerLayer: number): string {
  const sources =
    layer === 0
      ? "seed\n"
      : [rule, (rule + 1) % rulesPerLayer]
          // Bazel gives a rule's sources in the order of its list.
          .map((n) => expectedOutput(layer - 1, n, rulesPerLayer))
          .join("");
  return `${sources}${layer}_${rule}\n`;
}

/** Rules each of which ends only when all of them have begun, and fails when they do not within a minute. */
function waitingRules(count: number, meetingPoint: string): string {
  const rule = (name: string) =>
    genrule(
      name,
      [],
      `mkdir -p ${meetingPoint} && touch ${meetingPoint}/${name} && for attempt in $$(seq 600); do ` +
        `[ $$(ls ${meetingPoint} | wc -l) -ge ${count} ] && echo met > $@ && exit 0; sleep 0.1; done; exit 1`,
    );
  return Array.from({ length: count }, (_, number) => rule(`wait_${number}`)).join("\n");
}

function genrule(name: string, sources: string[], command: string): string {
  return `genrule(name = "${name}", srcs = ${JSON.stringify(sources)}, outs = ["${name}.txt"], cmd = ${JSON.stringify(command)})`;
}
