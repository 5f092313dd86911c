import { BackendMetrics } from "../src/cas/backend-metrics.ts";
import { countCalls } from "../src/runner/telemetry/call-metrics.ts";
import { requestMetrics } from "../src/telemetry/diagnostics.ts";
import { type MetricFamily, Metrics } from "../src/telemetry/metrics/metrics.ts";
import { observeProcess } from "../src/telemetry/metrics/process-metrics.ts";
import { MemoryFilePool } from "../src/vfs/index.ts";
import { WorkerWatch } from "../src/worker/telemetry/worker-watch.ts";

/** The families of bb_worker, as the code describes them. Their numbers cannot be read. */
export function workerFamilies(): readonly MetricFamily[] {
  const metrics = new Metrics();
  const watch = new WorkerWatch(metrics);
  watch.filePool(new MemoryFilePool(0));
  watch.observe({ statistics: unread }, 0);
  new BackendMetrics(metrics);
  return withOwn(metrics);
}

/** The same of bb_runner. */
export function runnerFamilies(): readonly MetricFamily[] {
  const metrics = new Metrics();
  countCalls(metrics);
  return withOwn(metrics);
}

/** With those that each program has. */
function withOwn(metrics: Metrics): readonly MetricFamily[] {
  using resources = new DisposableStack();
  observeProcess(metrics, resources);
  requestMetrics(metrics);
  return metrics.families;
}

function unread(): never {
  throw new Error("only descriptions are wanted");
}
