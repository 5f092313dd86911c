/**
 * The server under test, in a process of its own: prints its port. With "watched", it is counted, timed and scraped, and
 * actions run beside, of which one in a hundred is traced; with "bare", what counts its operations does nothing.
 */
import { create } from "@bufbuild/protobuf";
import { MemoryFileSystem, NfsServer } from "../../src/nfs/index.ts";
import { OperationStatistics } from "../../src/nfs/statistics.ts";
import { ExecuteResponseSchema } from "../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { DesiredState_ExecutingSchema } from "../../src/proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { expose } from "../../src/telemetry/metrics/exposition.ts";
import { Metrics } from "../../src/telemetry/metrics/metrics.ts";
import { startTracing } from "../../src/telemetry/tracing/open-telemetry.ts";
import type { SamplerSettings } from "../../src/telemetry/tracing/settings.ts";
import type { Tracer } from "../../src/telemetry/tracing/spans.ts";
import { ActionTrace } from "../../src/worker/telemetry/action-trace.ts";
import { observeNfs } from "../../src/worker/telemetry/nfs-metrics.ts";

const SCRAPE_MILLISECONDS = 500;
/** As many as eight slots with actions of 0.4 s. */
const ACTIONS_PER_SECOND = 20;
/** Blobs for which an action waits, and outputs. */
const FETCHES_PER_ACTION = 100;
const UPLOADS_PER_ACTION = 10;

const NEVER: SamplerSettings = { policy: "never" };
const ALWAYS: SamplerSettings = { policy: "always" };
/** What compose/monitoring/traced-worker.jsonnet says. */
const ONE_IN_A_HUNDRED: SamplerSettings = {
  policy: "parentBased",
  noParent: { policy: "traceIdRatioBased", ratio: 0.01 },
  localParentNotSampled: NEVER,
  localParentSampled: ALWAYS,
  remoteParentNotSampled: NEVER,
  remoteParentSampled: ALWAYS,
};

class Uncounted extends OperationStatistics {
  override get timesNext(): boolean {
    return false;
  }

  override ended(): void {}
}

const server = new NfsServer({ fileSystem: new MemoryFileSystem() });
if (process.argv[2] === "bare") {
  Object.assign(NfsServer.contextOf(server), { statistics: new Uncounted() });
} else {
  const metrics = new Metrics();
  observeNfs(metrics, () => [server.statistics()]);
  const exposition = expose(metrics);
  setInterval(() => exposition.text(), SCRAPE_MILLISECONDS);

  const batches = {
    delayMilliseconds: undefined,
    exportMilliseconds: undefined,
    maximumBatchSize: undefined,
    maximumQueueSize: undefined,
  };
  const tracer = startTracing(
    {
      backends: [{ endpoint: undefined, batches }],
      resourceAttributes: { "service.name": "bb_worker" },
      sampler: ONE_IN_A_HUNDRED,
    },
    () => ({ send: () => Promise.resolve(new Uint8Array(0)), close() {} }),
    (error) => {
      throw error;
    },
  );
  setInterval(() => trace(tracer), 1000 / ACTIONS_PER_SECOND);
}
console.log(await server.listen());

/** What is recorded of an action, or would be. */
function trace(tracer: Tracer): void {
  const action = new ActionTrace(tracer, create(DesiredState_ExecutingSchema, { queuedTimestamp: {} }));
  action.enter("fetchingInputs");
  action.enter("running");
  for (let fetch = 0; fetch < FETCHES_PER_ACTION; fetch++) {
    action.waitsFor({ kind: "fetch" }, Promise.resolve());
  }
  action.enter("uploadingOutputs");
  for (let upload = 0; upload < UPLOADS_PER_ACTION; upload++) {
    action.waitsFor({ kind: "upload", path: `out/${upload}` }, Promise.resolve());
  }
  action.waitsFor({ kind: "record" }, Promise.resolve());
  action.end(create(ExecuteResponseSchema, { result: {} }));
}
