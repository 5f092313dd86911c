import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, suite, test } from "node:test";
import { Bazel, genrule, layeredOutputs, layeredRules } from "../bazel.ts";

/**
 * A real Bazel against `npm start`. What actions wait for each other proves is that they run at the same time: they
 * share the file system of the machine that worker and runner run on.
 */
suite("Bazel builds on the cluster", () => {
  const repository = join(import.meta.dirname, "../..");
  const layers = { layers: 6, rulesPerLayer: 10 };
  const atOnce = 8;
  let folder: string;
  let bazel: Bazel;
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

  function build(...targets: string[]): Promise<string> {
    return bazel.run(
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
    bazel = await Bazel.create(folder, {
      ...layeredRules(layers),
      "at-once/BUILD": waitingRules(atOnce, join(folder, "meeting-point")),
    });
    cluster = startCluster("localhost:0");
    address = await addressOf(cluster);
  });

  after(async () => {
    await bazel.run("shutdown").catch(() => {});
    if (cluster.exitCode === null) {
      cluster.kill("SIGKILL");
      await once(cluster, "exit");
    }
    await rm(folder, { recursive: true, force: true });
  });

  test("60 rules, each depending on two others, with the right outputs", async () => {
    const report = await build("//:all");
    assert.match(report, /60 processes: 60 remote\./);
    for (const [name, content] of layeredOutputs(layers)) {
      assert.equal(await readFile(bazel.output(name), "utf8"), content, name);
    }
  });

  test("after bazel clean everything is a cache hit", async () => {
    await bazel.run("clean");
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
