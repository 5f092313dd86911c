/**
 * `npm run bench -- native`: milliseconds from Synchronize's answer to the Run call where the build directory is native, by
 * size of the input root: with an empty cache, with a full one, and once more, beside a loop that makes the same hard
 * links with Node's own calls from a cache that is full. Worker, runner, scheduler and storage are in this process.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fromJson } from "@bufbuild/protobuf";
import { ClusterServer } from "../src/cluster/server.ts";
import { bbRunnerSettings } from "../src/config/bb-runner/application.ts";
import { bbWorkerSettings } from "../src/config/bb-worker/application.ts";
import { openChannel } from "../src/grpc/endpoint.ts";
import { ApplicationConfigurationSchema as RunnerSchema } from "../src/proto/gen/buildbarn/configuration/bb_runner/bb_runner_pb.ts";
import { ApplicationConfigurationSchema as WorkerSchema } from "../src/proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import { startRunner } from "../src/runner/server.ts";
import { createLog } from "../src/telemetry/log.ts";
import { Worker } from "../src/worker/worker.ts";
import { ExecutionClient } from "./demo/execution-client.ts";
import { placeByHardLinks } from "./demo/hardlinked-root.ts";
import { median } from "./median.ts";
import { syntheticRoot } from "./synthetic-root.ts";
import { formatTable } from "./table.ts";

const sizes = [10_000, 50_000];
const actionsWithFullCache = 5;
const PLATFORM = [{ name: "pool", value: "native" }];

const folder = mkdtempSync(path.join(tmpdir(), "native-bench-"));
try {
  await measure();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function measure(): Promise<void> {
  await using resources = new AsyncDisposableStack();
  const server = await ClusterServer.start({
    folder: path.join(folder, "storage"),
    listen: "localhost:0",
    listenForWorkers: `unix:${folder}/server`,
  });
  resources.defer(() => server.close());
  await startWorker(resources);
  await server.queue.untilWorkers(1, AbortSignal.timeout(60_000));
  const channel = resources.adopt(openChannel({ address: server.address }), (channel) => channel.close());
  const client = new ExecutionClient(server.storage, channel, PLATFORM);
  const rows = [];
  for (const files of sizes) {
    console.log(`making an input root of ${files} files …`);
    const { digest } = await server.storage.importInputRoot(syntheticRoot(files));
    const times: number[] = [];
    for (let action = 0; action <= actionsWithFullCache; action++) {
      const command = { arguments: ["true", `${action}`], workingDirectory: "", outputPaths: [] };
      times.push((await client.run(command, digest)).orderToRunMilliseconds);
    }
    const [cold = Number.NaN, ...warm] = times;
    const loop: number[] = [];
    for (const name of ["empty", "full", "again"]) {
      const [cache, target] = [path.join(folder, `cache-${files}`), path.join(folder, `${name}-${files}`)];
      const placement = await placeByHardLinks(server.storage, digest, cache, target, () => {});
      loop.push(placement.milliseconds);
      rmSync(target, { recursive: true });
    }
    rows.push([files, ...[cold, median(warm), loop[0]!, Math.min(...loop.slice(1))].map(Math.round)]);
  }
  console.log(
    formatTable(
      [
        "files",
        "worker, empty cache, ms",
        "full cache, median, ms",
        "loop, empty cache, ms",
        "full cache, ms",
      ],
      rows,
    ),
  );
}

async function startWorker(resources: AsyncDisposableStack): Promise<void> {
  const [buildDirectoryPath, cacheDirectoryPath] = ["build", "cache"].map((name) => path.join(folder, name));
  mkdirSync(buildDirectoryPath!);
  mkdirSync(cacheDirectoryPath!);
  const log = createLog("error");
  const runner = await startRunner(
    bbRunnerSettings(
      fromJson(RunnerSchema, {
        buildDirectoryPath: buildDirectoryPath!,
        grpcServers: [{ listenPaths: [path.join(folder, "runner")], authenticationPolicy: { allow: {} } }],
      }),
    ),
    log,
  );
  resources.defer(() => runner.close());
  const grpc = { grpc: { client: { address: `unix:${folder}/server` } } };
  const native = {
    buildDirectoryPath: buildDirectoryPath!,
    cacheDirectoryPath: cacheDirectoryPath!,
    maximumCacheFileCount: "1000000",
    maximumCacheSizeBytes: "10000000000",
    cacheReplacementPolicy: "LEAST_RECENTLY_USED",
  };
  const endpoint = { address: `unix:${folder}/runner` };
  const settings = bbWorkerSettings(
    fromJson(WorkerSchema, {
      scheduler: { address: `unix:${folder}/server` },
      blobstore: { contentAddressableStorage: grpc, actionCache: grpc },
      buildDirectories: [
        { native, runners: [{ endpoint, concurrency: "1", platform: { properties: PLATFORM } }] },
      ],
    }),
  );
  const noMount = () => Promise.reject(new Error("nothing is to be mounted"));
  const worker = await Worker.start(settings, noMount, log);
  resources.defer(() => worker.stop(0));
}
