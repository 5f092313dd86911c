import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { expose } from "../../../../src/telemetry/metrics/exposition.ts";
import { Metrics } from "../../../../src/telemetry/metrics/metrics.ts";
import { type ParsedFamily, parseExposition } from "../../telemetry/metrics/parse-exposition.ts";
import { NativeCluster } from "../native/native-cluster.ts";

type Families = ReadonlyMap<string, ParsedFamily>;

function value(families: Families, name: string, labels: Readonly<Record<string, string>> = {}): number {
  const [family, suffix] = families.has(name)
    ? [name, ""]
    : [name.replace(/_(?:count|sum|bucket)$/, ""), name];
  const found = families
    .get(family)
    ?.samples.filter(
      (sample) =>
        (suffix === "" || sample.name === suffix) &&
        Object.entries(labels).every(([label, expected]) => sample.labels[label] === expected),
    );
  return (found ?? []).reduce((sum, sample) => sum + sample.value, 0);
}

it("worker and runner count what their actions did, by Buildbarn's names", {
  timeout: 60_000,
}, async (test) => {
  const workerMetrics = new Metrics();
  const runnerMetrics = new Metrics();
  const cluster = await NativeCluster.start(test, { workerMetrics, runnerMetrics });
  const worker = expose(workerMetrics);
  const runner = expose(runnerMetrics);
  const inputRoot = await cluster.putDirectory({
    files: [{ name: "input", digest: await cluster.putFile("x".repeat(1000)) }],
  });
  const held = await cluster.hold(inputRoot, "cat input > output");
  const during = parseExposition(await worker.text());
  assert.equal(value(during, "bb_worker_nfs4_running_actions", { stage: "Running" }), 1);
  assert.equal(value(during, "bb_worker_nfs4_slots"), 1);
  held.release();
  await held.response;
  await cluster.run({
    inputRoot,
    script: "mkdir -p out; cat input > out/copy; date +%N > out/new",
    command: { outputPaths: ["out"] },
  });
  await cluster.run({ script: "exit 3" });
  await cluster.run({ script: "sleep 1000", action: { timeout: { seconds: 0n, nanos: 10_000_000 } } });

  const families = parseExposition(await worker.text());
  const documented = readFileSync(join(import.meta.dirname, "../../../../docs/metrics.md"), "utf8");
  for (const [name, { help, unit }] of families) {
    assert.ok(help.endsWith(".") && unit !== "", name);
    assert.ok(documented.includes(`| \`${name}\` `), name);
  }
  const executions = (labels: Readonly<Record<string, string>>) =>
    value(families, "buildbarn_builder_build_executor_duration_seconds_count", labels);
  assert.equal(executions({ result: "Success", grpc_code: "", stage: "Running" }), 2);
  assert.equal(executions({ result: "NonZeroExitCode", stage: "UploadingOutputs" }), 1);
  assert.equal(executions({ result: "Failure", grpc_code: "DeadlineExceeded", stage: "FetchingInputs" }), 1);
  assert.equal(value(families, "buildbarn_builder_build_executor_posix_user_time_count"), 3);
  assert.equal(value(families, "bb_worker_nfs4_running_actions"), 0);

  const grpc = (name: string, grpc_method: string, labels: Readonly<Record<string, string>> = {}) =>
    value(families, `grpc_client_${name}`, { grpc_method, ...labels });
  assert.equal(grpc("handled_total", "Run", { grpc_code: "OK", grpc_service: "buildbarn.runner.Runner" }), 3);
  assert.equal(grpc("handled_total", "Run", { grpc_code: "Canceled" }), 1);
  assert.equal(grpc("handling_seconds_count", "Run", { grpc_type: "unary" }), 4);
  assert.equal(grpc("msg_sent_total", "Run"), 4);
  assert.equal(grpc("msg_received_total", "Run"), 3);
  // Counted in another thread.
  assert.ok(grpc("handled_total", "BatchReadBlobs", { grpc_code: "OK" }) > 0);
  assert.ok(grpc("handled_total", "FindMissingBlobs", { grpc_code: "OK" }) > 0);
  // The worker asks for work.
  assert.ok(grpc("started_total", "Synchronize") > grpc("handled_total", "Synchronize"));

  const storage = (name: string, operation: string, storage_type = "cas") =>
    value(families, `buildbarn_blobstore_blob_access_operations_${name}`, { operation, storage_type });
  assert.equal(storage("duration_seconds_count", "Put", "ac"), 1);
  assert.ok(storage("duration_seconds_count", "Get") >= 4);
  assert.ok(storage("blob_size_bytes_sum", "Get") > 1000);
  assert.ok(storage("duration_seconds_count", "Put") > 0);
  assert.ok(value(families, "buildbarn_blobstore_blob_access_operations_find_missing_batch_size_sum") >= 2);
  assert.equal(value(families, "bb_worker_nfs4_reads_total", { tier: "storage" }), 1);
  assert.equal(value(families, "bb_worker_nfs4_read_wait_seconds_count", { tier: "storage" }), 1);
  assert.equal(value(families, "bb_worker_nfs4_read_bytes_total", { tier: "storage" }), 1000);

  const evictionSet = (name: string, operation: string) =>
    value(families, "buildbarn_eviction_set_operations_total", { name, operation });
  assert.deepEqual(
    ["Insert", "Touch", "Remove"].map((operation) => evictionSet("HardlinkingFileFetcher", operation)),
    [1, 1, 0],
  );
  assert.ok(evictionSet("CachingDirectoryFetcher", "Insert") >= 1);
  assert.ok(evictionSet("CachingDirectoryFetcher", "Touch") >= 1);

  // Whatever actions are called, and however many there are, there are no more series.
  const before = (await worker.text()).split("\n").length;
  for (const name of ["a", "b\nc"]) {
    await cluster.run({ script: `exit 3 # ${name}` });
  }
  const text = await worker.text();
  assert.equal(text.split("\n").length, before);
  assert.doesNotMatch(text, /[0-9a-f]{64}/);

  const served = parseExposition(await runner.text());
  assert.equal(value(served, "grpc_server_handled_total", { grpc_method: "Run", grpc_code: "OK" }), 5);
  assert.equal(value(served, "grpc_server_handled_total", { grpc_method: "Run", grpc_code: "Canceled" }), 1);
  assert.ok(value(served, "grpc_server_handled_total", { grpc_method: "CheckReadiness" }) > 0);
});
