import type { ServerInterceptor } from "@grpc/grpc-js";
import { countingServer } from "../../grpc/calls/counting.ts";
import { CallCounts } from "../../grpc/calls/counts.ts";
import { observeCalls } from "../../grpc/calls/metrics.ts";
import { Authentication } from "../../proto/gen/buildbarn/auth/auth_pb.ts";
import { Runner } from "../../proto/gen/buildbarn/runner/runner_pb.ts";
import { TemporaryDirectoryInstaller } from "../../proto/gen/buildbarn/tmp_installer/tmp_installer_pb.ts";
import { Health } from "../../proto/gen/grpc/health/v1/health_pb.ts";
import { SECONDS } from "../../telemetry/metrics/buckets.ts";
import type { Metrics } from "../../telemetry/metrics/metrics.ts";

/** Has the runner's calls counted, where there are metrics. */
export function countCalls(metrics: Metrics | undefined): {
  readonly called: CallCounts | undefined;
  readonly servers: readonly ServerInterceptor[];
} {
  if (metrics === undefined) {
    return { called: undefined, servers: [] };
  }
  const called = CallCounts.of([TemporaryDirectoryInstaller, Authentication], SECONDS);
  const served = CallCounts.of([Runner, Health], SECONDS);
  observeCalls(metrics, "client", called);
  observeCalls(metrics, "server", served);
  return { called, servers: [countingServer(served)] };
}
