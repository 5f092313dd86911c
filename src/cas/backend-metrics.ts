import { toBinary } from "@bufbuild/protobuf";
import { GO_CODES } from "../grpc/calls/metrics.ts";
import {
  type ActionResult,
  ActionResultSchema,
} from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import { asBlobError } from "../reapi/blob-error.ts";
import { BYTES, exponentialBuckets, SECONDS } from "../telemetry/metrics/buckets.ts";
import type { Histogram, Metrics } from "../telemetry/metrics/metrics.ts";
import type { TransferPool } from "./transfer/transfer-pool.ts";
import type { TransferResults, TransferTask } from "./transfer/transfer-task.ts";

type Operation = "Get" | "Put" | "FindMissing";

/**
 * Counts what is asked of storage servers, as Buildbarn's MetricsBlobAccess counts it at backends of the type `grpc`. What
 * is asked for together counts as one for each blob, and takes each as long as it takes all.
 */
export class BackendMetrics {
  readonly #durations: Histogram;
  readonly #sizes: Histogram;
  readonly #batchSizes: Histogram;

  constructor(metrics: Metrics) {
    const labels = ["storage_type", "backend_type", "operation"];
    const name = (rest: string) => `buildbarn_blobstore_blob_access_operations_${rest}`;
    this.#durations = metrics.histogram(
      {
        name: name("duration_seconds"),
        help: "How long operations at storage servers took, by their status.",
        unit: "seconds",
        labels: [...labels, "grpc_code"],
      },
      SECONDS,
    );
    this.#sizes = metrics.histogram(
      {
        name: name("blob_size_bytes"),
        help: "Sizes of blobs that were asked for at storage servers, or sent there.",
        unit: "bytes",
        labels,
      },
      BYTES,
    );
    this.#batchSizes = metrics.histogram(
      {
        name: name("find_missing_batch_size"),
        help: "How many digests were asked about together whether storage servers have them.",
        unit: "digests",
        labels: labels.slice(0, 2),
      },
      exponentialBuckets(1, 2, 17),
    );
  }

  /** The pool, with its tasks for servers counted. */
  metered(pool: TransferPool): TransferPool {
    return {
      run: (task, context) =>
        "server" in task
          ? this.#task(task, context?.signal, () => pool.run(task, context))
          : pool.run(task, context),
      start: () => pool.start(),
      close: () => pool.close(),
    };
  }

  /** Counts a write to the action cache. */
  putActionResult(
    result: ActionResult,
    signal: AbortSignal | undefined,
    put: () => Promise<void>,
  ): Promise<void> {
    this.#sizes.observe(toBinary(ActionResultSchema, result).length, "ac", "grpc", "Put");
    return this.#timed("ac", "Put", 1, signal, put, () => []);
  }

  #task<T extends TransferTask>(
    task: T,
    signal: AbortSignal | undefined,
    run: () => Promise<TransferResults[T["kind"]]>,
  ): Promise<TransferResults[T["kind"]]> {
    const [operation, sizes] = operationOf(task);
    if (operation === "FindMissing") {
      this.#batchSizes.observe(sizes.length, "cas", "grpc");
      return this.#timed("cas", operation, 1, signal, run, () => []);
    }
    for (const size of sizes) {
      this.#sizes.observe(size, "cas", "grpc", operation);
    }
    return this.#timed("cas", operation, sizes.length, signal, run, (result) => failuresIn(task, result));
  }

  async #timed<Result>(
    storage: "cas" | "ac",
    operation: Operation,
    count: number,
    signal: AbortSignal | undefined,
    run: () => Promise<Result>,
    failures: (result: Result) => readonly number[],
  ): Promise<Result> {
    const startedAt = performance.now();
    const observe = (code: number, times: number) => {
      const seconds = (performance.now() - startedAt) / 1000;
      for (let time = 0; time < times; time++) {
        this.#durations.observe(seconds, storage, "grpc", operation, GO_CODES[code] ?? "Unknown");
      }
    };
    try {
      const result = await run();
      const failed = failures(result);
      for (const code of failed) {
        observe(code, 1);
      }
      observe(Code.OK, count - failed.length);
      return result;
    } catch (error) {
      observe(signal?.aborted ? Code.CANCELLED : asBlobError(error, operation).code, count);
      throw error;
    }
  }
}

/** What Buildbarn calls it, and the sizes of the blobs that it is about. */
function operationOf(task: TransferTask): readonly [Operation, readonly number[]] {
  switch (task.kind) {
    case "fetchBlobs":
      return ["Get", task.digests.map(({ sizeBytes }) => sizeBytes)];
    case "fetchRange":
      return ["Get", [task.length]];
    case "findMissing":
      return ["FindMissing", task.digests.map(({ sizeBytes }) => sizeBytes)];
    case "uploadBatch":
      return ["Put", task.blobs.map(({ content }) => content.length)];
    case "upload":
      return ["Put", [task.digest.sizeBytes]];
    default:
      throw new TypeError(`${task.kind} is not for a server`);
  }
}

/** The codes of the blobs that could not be had, or stored, though the others could. */
function failuresIn<T extends TransferTask>(
  task: T,
  result: TransferResults[TransferTask["kind"]],
): readonly number[] {
  if (task.kind === "fetchBlobs") {
    return (result as TransferResults["fetchBlobs"]).flatMap((blob) => ("code" in blob ? [blob.code] : []));
  }
  if (task.kind === "uploadBatch") {
    return (result as TransferResults["uploadBatch"]).flatMap((error) => (error ? [error.code] : []));
  }
  return [];
}
