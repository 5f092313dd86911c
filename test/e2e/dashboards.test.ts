import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it, type TestContext } from "node:test";
import { ExecutionClient } from "../../bench/demo/execution-client.ts";
import { defaultPools, startCluster } from "../../src/cluster/cluster.ts";
import { openChannel } from "../../src/grpc/endpoint.ts";
import { startDiagnostics } from "../../src/telemetry/diagnostics.ts";
import { Metrics } from "../../src/telemetry/metrics/metrics.ts";
import { observeProcess } from "../../src/telemetry/metrics/process-metrics.ts";
import { NativeCluster } from "../unit/worker/native/native-cluster.ts";
import { freePort } from "./free-port.ts";
import { metricsProblems, PROMETHEUS, Prometheus } from "./prometheus.ts";

const folderOfDashboards = join(import.meta.dirname, "../../configs/grafana");
/** More than this many actions do not help a panel that has no data. */
const MAXIMUM_ACTIONS = 200;

/** A dashboard's queries as Grafana would send them. */
function queriesOf(file: string): readonly string[] {
  const { panels } = JSON.parse(readFileSync(join(folderOfDashboards, file), "utf8")) as {
    panels: readonly { readonly targets?: readonly { readonly expr: string }[] }[];
  };
  return panels
    .flatMap(({ targets = [] }) => targets)
    .map(({ expr }) => expr.replaceAll("$__rate_interval", "1m").replaceAll("$instance", ".*"));
}

/** A worker of NFS build directories, that runs one more action each time that it is asked. */
async function startWorker(test: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), "dashboards-"));
  const diagnostics = `127.0.0.1:${await freePort()}`;
  const cluster = await startCluster({
    folder,
    listen: "localhost:0",
    pools: defaultPools(2),
    diagnostics,
  });
  const channel = openChannel({ address: cluster.address });
  test.after(async () => {
    channel.close();
    await cluster.close();
    await rm(folder, { recursive: true, force: true });
  });
  const client = new ExecutionClient(cluster.storage, channel, []);
  let count = 0;
  const run = async () => {
    const content = Buffer.from(`${++count}\n`);
    const { digest } = await cluster.storage.importInputRoot([
      { path: "in", type: "file", isExecutable: false, content },
    ]);
    await client.run(
      {
        arguments: ["sh", "-c", "read line < in; echo out $line > out"],
        workingDirectory: "",
        outputPaths: ["out"],
      },
      digest,
    );
  };
  return { diagnostics, run };
}

/** The same for a runner, in this process. */
async function startRunner(test: TestContext) {
  const metrics = new Metrics();
  const resources = new DisposableStack();
  test.after(() => resources.dispose());
  const cluster = await NativeCluster.start(test, { runnerMetrics: metrics });
  observeProcess(metrics, resources);
  const port = await freePort();
  const server = await startDiagnostics(
    {
      servers: [
        {
          addresses: [{ host: "127.0.0.1", port }],
          tls: undefined,
          authentication: { kind: "allow", metadata: {} },
        },
      ],
      prometheus: true,
      activeSpans: false,
      profiles: false,
    },
    { metrics, activeSpans: undefined, page: undefined },
  );
  test.after(() => server[Symbol.asyncDispose]());
  return { diagnostics: `127.0.0.1:${port}`, run: () => cluster.run({ script: "true" }) };
}

it("every panel has data, and promtool finds nothing wrong, during a build", {
  skip: PROMETHEUS ? false : "prometheus is not installed",
  timeout: 600_000,
}, async (test) => {
  const worker = await startWorker(test);
  const runner = await startRunner(test);
  const targets = { bb_worker: worker.diagnostics, bb_runner: runner.diagnostics };
  await using prometheus = await Prometheus.start(targets, `127.0.0.1:${await freePort()}`);
  let missing = ["bb_worker.json", "bb_runner.json"].flatMap(queriesOf);
  assert.ok(missing.length > 50);
  for (let actions = 0; missing.length > 0 && actions < MAXIMUM_ACTIONS; actions++) {
    await Promise.all([worker.run(), runner.run()]);
    const values = await Promise.all(missing.map((query) => prometheus.query(query)));
    missing = missing.filter((_, index) => !values[index]!.some(Number.isFinite));
  }
  assert.deepEqual(missing, []);
  for (const address of Object.values(targets)) {
    const text = await (await fetch(`http://${address}/metrics`)).text();
    assert.deepEqual(metricsProblems(text), []);
  }
});
