/**
 * The suite's half that runs where the kernel has an NFS client. Scheduler and storage are in this process, all sides are
 * their clients. Argument: the folder that main.ts has filled; results.json is left there.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, release, tmpdir } from "node:os";
import { join } from "node:path";
import type { Channel } from "@grpc/grpc-js";
import { ClusterServer } from "../../src/cluster/server.ts";
import { openChannel } from "../../src/grpc/endpoint.ts";
import { relay } from "../../src/in-kernel/relay.ts";
import { ExecutionClient } from "../demo/execution-client.ts";
import { toDigest } from "../plain-digest.ts";
import { AccessProfiles } from "./access-profiles.ts";
import { Distance } from "./distance.ts";
import { LocalDirectory } from "./local-directory.ts";
import { Recorder, type Results } from "./measurements.ts";
import { Pair } from "./pair.ts";
import { Bench } from "./scenario.ts";
import { SCENARIOS } from "./scenarios/index.ts";
import type { Side } from "./side.ts";
import { platformOf } from "./side-configuration.ts";
import { ourSides, ourVariants, peerSides, type SideDefinition } from "./sides.ts";
import type { SuitePlan } from "./suite-plan.ts";

/** As many actions as any scenario has run at the same time. */
const CONCURRENCY = 64;
const CONCURRENCY_IF_QUICK = 8;
const ACTION_SECONDS = 3600;
const ACTION_SECONDS_IF_QUICK = 120;

async function main(data: string): Promise<void> {
  const plan = JSON.parse(readFileSync(join(data, "plan.json"), "utf8")) as SuitePlan;
  await using resources = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), "suite-"));
  resources.defer(() => rmSync(folder, { recursive: true, force: true }));
  // Everybody's caches and directories are on the same file system, which is none of this machine's disks.
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=90%", "suite", folder]);
  resources.defer(() => void execFileSync("umount", ["--lazy", folder]));
  const server = await ClusterServer.start({
    folder: join(data, "storage"),
    listen: "localhost:0",
    listenForWorkers: `unix:${folder}/server`,
    // A side that has not been started yet is waited for.
    scheduler: { startupGrace: 24 * 3_600_000, platformWithoutWorkersTimeout: 24 * 3_600_000 },
  });
  resources.defer(() => server.close());
  const accessProfiles = await AccessProfiles.listen(join(folder, "access-profiles-server"));
  resources.defer(() => accessProfiles.close());
  const distance = new Distance();
  for (const [path, target] of [
    ["storage", "server"],
    ["access-profiles", "access-profiles-server"],
  ] as const) {
    const line = () => distance.line();
    const proxy = await relay({ path: join(folder, path) }, { path: join(folder, target) }, line);
    resources.defer(() => void proxy.close());
  }
  const channel = resources.adopt(openChannel({ address: server.address }), (open) => open.close());
  const { sides, variants } = makeSides(plan, folder, server, channel);
  resources.defer(async () => {
    for (const side of variants) {
      await side.stop();
    }
  });

  const started = performance.now();
  const progress = (text: string) =>
    console.log(`${((performance.now() - started) / 1000).toFixed(0).padStart(5)} s  ${text}`);
  const recorder = new Recorder();
  const failures: string[] = [];
  const scenarios = SCENARIOS.filter(({ name }) => name in plan.scenarios);
  for (const scenario of scenarios) {
    const bench = new Bench(scenario.name, {
      ...plan,
      smallest: toDigest(plan.smallest),
      sides,
      variants,
      distance,
      progress,
      recorder,
      failures,
    });
    await scenario.measure(bench, plan.scenarios[scenario.name]);
  }
  const results: Results = {
    format: 1,
    started: new Date().toISOString(),
    kernel: `Linux ${release()} (${process.env.IN_KERNEL})`,
    processors: availableParallelism(),
    quick: plan.quick,
    sides: variants.map(({ name, title }) => ({ name, title })),
    scenarios: scenarios.map(({ name, question }) => ({ name, question })),
    series: recorder.series,
    failures,
  };
  writeFileSync(join(data, "results.json"), JSON.stringify(results));
}

/** The sides, and these with the variants of those of them that have any. */
function makeSides(
  plan: SuitePlan,
  folder: string,
  server: ClusterServer,
  channel: Channel,
): { sides: Side[]; variants: Side[] } {
  const pair = (definition: SideDefinition) => {
    const places = {
      folder: join(folder, definition.name),
      scheduler: join(folder, "server"),
      storage: join(folder, "storage"),
      accessProfiles: join(folder, "access-profiles"),
      concurrency: plan.quick ? CONCURRENCY_IF_QUICK : CONCURRENCY,
    };
    mkdirSync(places.folder);
    const client = new ExecutionClient(server.storage, channel, platformOf(definition).properties);
    return new Pair(definition, places, client, plan.quick ? ACTION_SECONDS_IF_QUICK : ACTION_SECONDS);
  };
  const all = [
    ...[...ourSides(plan.programs), ...plan.peers.flatMap(peerSides)].map(pair),
    new LocalDirectory(server.storage, join(folder, "local")),
  ];
  const wanted = plan.sides;
  const unknown = wanted?.find((name) => !all.some((side) => side.name === name));
  if (unknown !== undefined) {
    throw new Error(`there is no side ${JSON.stringify(unknown)}: ${all.map(({ name }) => name).join(", ")}`);
  }
  const sides = all.filter(({ name }) => wanted === undefined || wanted.includes(name));
  const variants = sides.flatMap((side) => [
    side,
    ...ourVariants(plan.programs)
      .filter((variant) => variant.of === side.name)
      .map(pair),
  ]);
  return { sides, variants };
}

await main(process.argv[2]!);
