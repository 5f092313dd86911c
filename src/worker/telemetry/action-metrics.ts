import { anyUnpack, type Duration, durationMs, type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { GO_CODES } from "../../grpc/calls/metrics.ts";
import type { ExecuteResponse } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  FilePoolResourceUsageSchema,
  InputRootResourceUsageSchema,
  type POSIXResourceUsage,
  POSIXResourceUsageSchema,
} from "../../proto/gen/buildbarn/resourceusage/resourceusage_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { BYTES, decimalBuckets, exponentialBuckets, SECONDS } from "../../telemetry/metrics/buckets.ts";
import type { Histogram, Metrics } from "../../telemetry/metrics/metrics.ts";
import type { InputUsage } from "../../vfs/index.ts";

const RESULT_LABELS = ["result", "grpc_code"];
const COUNTS = decimalBuckets(0, 6);
const LARGE_COUNTS = decimalBuckets(0, 9);

/** What an action can take of the operating system, by the field of POSIXResourceUsage. */
const POSIX_COUNTS = {
  pageReclaims: ["page_reclaims", "Page reclaims that actions caused.", "pages"],
  pageFaults: ["page_faults", "Page faults that actions caused.", "pages"],
  swaps: ["swaps", "Swaps that actions caused.", "swaps"],
  blockInputOperations: ["block_input_operations", "Block input operations of actions.", "operations"],
  blockOutputOperations: ["block_output_operations", "Block output operations of actions.", "operations"],
  messagesSent: ["messages_sent", "Messages that actions sent.", "messages"],
  messagesReceived: ["messages_received", "Messages that actions received.", "messages"],
  voluntaryContextSwitches: [
    "voluntary_context_switches",
    "Voluntary context switches of actions.",
    "switches",
  ],
  involuntaryContextSwitches: [
    "involuntary_context_switches",
    "Involuntary context switches of actions.",
    "switches",
  ],
} as const satisfies Partial<Record<keyof POSIXResourceUsage, readonly [string, string, string]>>;

type PosixCount = keyof typeof POSIX_COUNTS;

/** Counts what actions took, as Buildbarn's MetricsBuildExecutor does, and what they saw of their input roots. */
export class ActionMetrics {
  readonly #durations: Histogram;
  readonly #virtualDuration: Histogram;
  readonly #filesCreated: Histogram;
  readonly #filesPeak: Histogram;
  readonly #bytesPeak: Histogram;
  readonly #poolOperations: Histogram;
  readonly #poolBytes: Histogram;
  readonly #directoriesResolved: Histogram;
  readonly #directoriesRead: Histogram;
  readonly #filesRead: Histogram;
  readonly #userTime: Histogram;
  readonly #systemTime: Histogram;
  readonly #maximumResident: Histogram;
  readonly #signals: Histogram;
  readonly #posixCounts: ReadonlyMap<PosixCount, Histogram>;
  readonly #inputDirectories: Histogram;
  readonly #inputFiles: Histogram;
  readonly #inputBytes: Histogram;

  constructor(metrics: Metrics) {
    const histogram = (
      name: string,
      help: string,
      unit: string,
      bounds: readonly number[],
      ...labels: string[]
    ) =>
      metrics.histogram(
        {
          name: `buildbarn_builder_build_executor_${name}`,
          help,
          unit,
          labels: [...RESULT_LABELS, ...labels],
        },
        bounds,
      );
    this.#durations = histogram(
      "duration_seconds",
      "How long the stages of actions took.",
      "seconds",
      SECONDS,
      "stage",
    );
    this.#virtualDuration = histogram(
      "virtual_execution_duration",
      "How long actions ran, less the time that they waited for storage.",
      "seconds",
      SECONDS,
    );
    this.#filesCreated = histogram("file_pool_files_created", "Files that an action made.", "files", COUNTS);
    this.#filesPeak = histogram(
      "file_pool_files_count_peak",
      "Files of its own that an action had at the same time.",
      "files",
      COUNTS,
    );
    this.#bytesPeak = histogram(
      "file_pool_files_size_bytes_peak",
      "Bytes of files of its own that an action had at the same time.",
      "bytes",
      BYTES,
    );
    this.#poolOperations = histogram(
      "file_pool_operations_count",
      "Operations on files of its own that an action performed.",
      "operations",
      COUNTS,
      "operation",
    );
    this.#poolBytes = histogram(
      "file_pool_operations_size_bytes",
      "Bytes of them, together.",
      "bytes",
      BYTES,
      "operation",
    );
    this.#directoriesResolved = histogram(
      "input_root_directories_resolved",
      "Directories of its input root that an action got to see, where prefetching has this taken down.",
      "directories",
      COUNTS,
    );
    this.#directoriesRead = histogram(
      "input_root_directories_read",
      "Directories of its input root whose contents an action asked for, where prefetching has this taken down.",
      "directories",
      COUNTS,
    );
    this.#filesRead = histogram(
      "input_root_files_read",
      "Files of its input root that an action asked for, where prefetching has this taken down.",
      "files",
      COUNTS,
    );
    this.#userTime = histogram("posix_user_time", "CPU time of actions in user space.", "seconds", SECONDS);
    this.#systemTime = histogram(
      "posix_system_time",
      "CPU time of actions in the kernel.",
      "seconds",
      SECONDS,
    );
    this.#maximumResident = histogram(
      "posix_maximum_resident_set_size",
      "Memory that the largest process of an action had in RAM.",
      "bytes",
      exponentialBuckets(1024, 2, 23),
    );
    this.#signals = histogram("posix_signals_received", "Signals that actions received.", "signals", COUNTS);
    this.#posixCounts = new Map(
      (Object.keys(POSIX_COUNTS) as PosixCount[]).map((field) => {
        const [name, help, unit] = POSIX_COUNTS[field];
        return [field, histogram(`posix_${name}`, help, unit, LARGE_COUNTS)];
      }),
    );
    const input = (what: string, help: string, bounds: readonly number[]) =>
      metrics.histogram(
        { name: `bb_worker_nfs4_input_root_${what}`, help, unit: what, labels: ["part"] },
        bounds,
      );
    this.#inputDirectories = input(
      "directories",
      "Different directories of its input root that an action entered.",
      LARGE_COUNTS,
    );
    this.#inputFiles = input(
      "files",
      "Different files of its input root: in the directories that it entered, and those found by it there.",
      LARGE_COUNTS,
    );
    this.#inputBytes = input("bytes", "The same in bytes.", exponentialBuckets(1, 4, 22));
  }

  /** An action has ended. `inputs` is what it saw of its input root, where that is known. */
  ended(response: ExecuteResponse, inputs: InputUsage | undefined): void {
    const labels = labelsOf(response);
    const metadata = response.result?.executionMetadata;
    const stage = (name: string, start: Timestamp | undefined, end: Timestamp | undefined) => {
      if (start && end) {
        this.#durations.observe((timestampMs(end) - timestampMs(start)) / 1000, ...labels, name);
      }
    };
    if (metadata !== undefined) {
      stage("FetchingInputs", metadata.inputFetchStartTimestamp, metadata.inputFetchCompletedTimestamp);
      stage("Running", metadata.executionStartTimestamp, metadata.executionCompletedTimestamp);
      stage("UploadingOutputs", metadata.outputUploadStartTimestamp, metadata.outputUploadCompletedTimestamp);
      observeDuration(this.#virtualDuration, metadata.virtualExecutionDuration, labels);
    }
    for (const any of metadata?.auxiliaryMetadata ?? []) {
      const posix = anyUnpack(any, POSIXResourceUsageSchema);
      if (posix !== undefined) {
        this.#posix(posix, labels);
      }
      const pool = anyUnpack(any, FilePoolResourceUsageSchema);
      if (pool !== undefined) {
        this.#filesCreated.observe(Number(pool.filesCreated), ...labels);
        this.#filesPeak.observe(Number(pool.filesCountPeak), ...labels);
        this.#bytesPeak.observe(Number(pool.filesSizeBytesPeak), ...labels);
        this.#poolOperations.observe(Number(pool.readsCount), ...labels, "Read");
        this.#poolBytes.observe(Number(pool.readsSizeBytes), ...labels, "Read");
        this.#poolOperations.observe(Number(pool.writesCount), ...labels, "Write");
        this.#poolBytes.observe(Number(pool.writesSizeBytes), ...labels, "Write");
        this.#poolOperations.observe(Number(pool.truncatesCount), ...labels, "Truncate");
      }
      const root = anyUnpack(any, InputRootResourceUsageSchema);
      if (root !== undefined) {
        this.#directoriesResolved.observe(Number(root.directoriesResolved), ...labels);
        this.#directoriesRead.observe(Number(root.directoriesRead), ...labels);
        this.#filesRead.observe(Number(root.filesRead), ...labels);
      }
    }
    if (inputs !== undefined) {
      this.#inputDirectories.observe(inputs.directoriesEntered, "entered");
      this.#inputFiles.observe(inputs.filesEntered, "entered");
      this.#inputFiles.observe(inputs.filesFound, "found");
      this.#inputBytes.observe(inputs.bytesEntered, "entered");
      this.#inputBytes.observe(inputs.bytesFound, "found");
    }
  }

  #posix(usage: POSIXResourceUsage, labels: readonly string[]): void {
    observeDuration(this.#userTime, usage.userTime, labels);
    observeDuration(this.#systemTime, usage.systemTime, labels);
    this.#maximumResident.observe(Number(usage.maximumResidentSetSize), ...labels);
    this.#signals.observe(Number(usage.signalsReceived), ...labels);
    for (const [field, histogram] of this.#posixCounts) {
      histogram.observe(Number(usage[field]), ...labels);
    }
  }
}

function observeDuration(
  histogram: Histogram,
  duration: Duration | undefined,
  labels: readonly string[],
): void {
  if (duration !== undefined) {
    histogram.observe(durationMs(duration) / 1000, ...labels);
  }
}

/** `result` and `grpc_code`: the latter is empty unless the action failed. */
function labelsOf({ status, result }: ExecuteResponse): readonly [result: string, code: string] {
  if (status !== undefined && status.code !== Code.OK) {
    return ["Failure", GO_CODES[status.code] ?? "Unknown"];
  }
  if (result === undefined) {
    return ["ActionResultMissing", ""];
  }
  return [result.exitCode === 0 ? "Success" : "NonZeroExitCode", ""];
}
