import type { StorageClient } from "../../cas/storage-client.ts";
import { CallCounts } from "../../grpc/calls/counts.ts";
import { observeCalls } from "../../grpc/calls/metrics.ts";
import {
  ActionCache,
  Capabilities,
  ContentAddressableStorage,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { CompletedActionLogger as CompletedActionLoggerService } from "../../proto/gen/buildbarn/completedactionlogger/completed_action_logger_pb.ts";
import { FileSystemAccessCache } from "../../proto/gen/buildbarn/fsac/fsac_pb.ts";
import { OperationQueue } from "../../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { Runner } from "../../proto/gen/buildbarn/runner/runner_pb.ts";
import { ByteStream } from "../../proto/gen/google/bytestream/bytestream_pb.ts";
import { SECONDS } from "../../telemetry/metrics/buckets.ts";
import type { Metrics } from "../../telemetry/metrics/metrics.ts";
import { NO_TRACER, type Tracer } from "../../telemetry/tracing/spans.ts";
import type { FilePool } from "../../vfs/index.ts";
import type { BuildDirectoryServer } from "../build-directory/build-directory-server.ts";
import { CountedFilePool } from "../build-directory/counted-file-pool.ts";
import type {
  CompletedActionCounts,
  CompletedActionLogger,
} from "../completed-actions/completed-action-logger.ts";
import type { NativeBuildDirectory } from "../native/native-build-directory.ts";
import { ActionMetrics } from "./action-metrics.ts";
import type { RunningStage } from "./action-progress.ts";
import { observeEvictionSets } from "./eviction-metrics.ts";
import { observeNfs } from "./nfs-metrics.ts";
import { RunningActions } from "./running-actions.ts";
import { observeStorage } from "./storage-metrics.ts";

/** The services that a worker calls. */
const CALLED: Parameters<typeof CallCounts.of>[0] = [
  ActionCache,
  ByteStream,
  Capabilities,
  CompletedActionLoggerService,
  ContentAddressableStorage,
  FileSystemAccessCache,
  OperationQueue,
  Runner,
];

const STAGES: Readonly<Record<RunningStage, string>> = {
  preparing: "Preparing",
  fetchingInputs: "FetchingInputs",
  running: "Running",
  uploadingOutputs: "UploadingOutputs",
};

/** A runner, as the worker sees it. */
export interface WatchedRunner {
  readonly address: string;
  readonly concurrency: number;
  /** Of the connection to it: one of gRPC's states. */
  connection(): string;
  /** Why it gets no work; undefined as long as it does. */
  problem(): string | undefined;
}

/** Knows a worker's parts, for its page, and has them counted, where there are metrics. */
export class WorkerWatch {
  readonly runningActions = new RunningActions();
  /** For clients, so that their calls are counted. */
  readonly callCounts: CallCounts | undefined;
  readonly actionMetrics: ActionMetrics | undefined;
  readonly tracer: Tracer;
  readonly #metrics: Metrics | undefined;
  readonly mounts: BuildDirectoryServer[] = [];
  readonly nativeDirectories: NativeBuildDirectory[] = [];
  readonly runners: WatchedRunner[] = [];
  readonly #loggers: CompletedActionLogger[] = [];

  constructor(metrics: Metrics | undefined, tracer: Tracer = NO_TRACER) {
    this.#metrics = metrics;
    this.tracer = tracer;
    if (metrics !== undefined) {
      this.actionMetrics = new ActionMetrics(metrics);
      this.callCounts = CallCounts.of(CALLED, SECONDS);
      observeCalls(metrics, "client", this.callCounts);
      observeNfs(metrics, () => this.mounts.map((mount) => mount.statistics()));
      this.#observeLoggers(metrics);
    }
  }

  /** The pool, watched. */
  filePool(pool: FilePool): FilePool {
    if (this.#metrics === undefined) {
      return pool;
    }
    const counted = new CountedFilePool(pool);
    observeFilePool(this.#metrics, counted);
    return counted;
  }

  addLogger(logger: CompletedActionLogger): void {
    this.#loggers.push(logger);
  }

  /** Once storage is there. `slots` is how many actions can run at the same time. */
  observe(storage: Pick<StorageClient, "statistics">, slots: number): void {
    if (this.#metrics === undefined) {
      return;
    }
    observeStorage(this.#metrics, () => storage.statistics());
    observeEvictionSets(
      this.#metrics,
      () => storage.statistics(),
      () => this.nativeDirectories.map(({ cache }) => cache.operations),
    );
    this.#metrics.observe(
      "gauge",
      {
        name: "bb_worker_nfs4_slots",
        help: "How many actions the worker can run at the same time.",
        unit: "actions",
      },
      () => slots,
    );
    this.#metrics.observe(
      "gauge",
      {
        name: "bb_worker_nfs4_running_actions",
        help: "Actions that are being run, by what they do; each takes a slot.",
        unit: "actions",
        labels: ["stage"],
      },
      () => {
        const counts = new Map<RunningStage, number>();
        for (const { stage } of this.runningActions.all) {
          counts.set(stage, (counts.get(stage) ?? 0) + 1);
        }
        return (Object.keys(STAGES) as RunningStage[]).map((stage) => ({
          labels: [STAGES[stage]],
          value: counts.get(stage) ?? 0,
        }));
      },
    );
  }

  #observeLoggers(metrics: Metrics): void {
    const counter = (
      rest: string,
      help: string,
      counts: Readonly<Partial<Record<keyof CompletedActionCounts, string>>>,
      labels: readonly string[] = [],
    ) =>
      metrics.observe(
        "counter",
        {
          name: `buildbarn_builder_completed_action_logger_completed_actions_${rest}_total`,
          help,
          unit: "actions",
          labels,
        },
        () =>
          (Object.entries(counts) as [keyof CompletedActionCounts, string][]).map(([field, label]) => ({
            labels: labels.length > 0 ? [label] : [],
            value: this.#loggers.reduce((sum, logger) => sum + logger.counts[field], 0),
          })),
      );
    counter(
      "logged",
      "Completed actions that are to be sent to a logger, or were discarded.",
      { queued: "Queued", discarded: "Discarded" },
      ["result"],
    );
    counter("sent", "Completed actions that were sent to a logger.", { sent: "" });
    counter("acknowledged", "Completed actions that a logger has acknowledged.", { acknowledged: "" });
  }
}

function observeFilePool(metrics: Metrics, pool: CountedFilePool): void {
  const counter = (rest: string, help: string, value: () => number) =>
    metrics.observe(
      "counter",
      { name: `buildbarn_filesystem_file_pool_files_${rest}_total`, help, unit: "files" },
      value,
    );
  counter(
    "created",
    "Files that were made in the file pool: those too large for memory.",
    () => pool.created,
  );
  counter("closed", "Files of the file pool that are gone.", () => pool.closed);
  const gauge = (rest: string, help: string, value: () => number) =>
    metrics.observe("gauge", { name: `bb_worker_nfs4_file_pool_${rest}`, help, unit: "bytes" }, value);
  gauge("size_bytes", "Bytes that the file pool can hold.", () => pool.space().totalBytes);
  gauge("free_bytes", "Bytes of them that are free.", () => pool.space().freeBytes);
}
