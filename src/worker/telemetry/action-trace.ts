import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { ExecuteResponse } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { DesiredState_Executing } from "../../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { during, type Span, type Tracer } from "../../telemetry/tracing/spans.ts";
import type { ExecutionStage } from "../scheduler/build-client.ts";
import type { ActionObserver, ActionPart } from "./action-observer.ts";

/** Spans of one kind in an action's trace. An action can wait for storage a million times. */
const MAXIMUM_PARTS = 500;

const STAGES: Readonly<Record<ExecutionStage, string>> = {
  fetchingInputs: "FetchingInputs",
  running: "Running",
  uploadingOutputs: "UploadingOutputs",
};

/**
 * An action's spans: one for the action, which continues the scheduler's trace; in it one for the time in the queue and
 * one for each stage; and in these one for each time that it waited for storage, and for each upload.
 */
export class ActionTrace implements ActionObserver {
  readonly #span: Span;
  #stage: Span | undefined;
  readonly #fetches = { count: 0, withoutSpan: "fetches_without_span" };
  readonly #uploads = { count: 0, withoutSpan: "uploads_without_span" };

  constructor(tracer: Tracer, request: DesiredState_Executing) {
    const { actionDigest, action, instanceNameSuffix, queuedTimestamp } = request;
    this.#span = tracer.start("BuildExecutor.Execute", request.w3cTraceContext, {
      attributes: {
        "action_digest.hash": actionDigest?.hash ?? "",
        "action_digest.size_bytes": Number(actionDigest?.sizeBytes ?? 0),
        do_not_cache: action?.doNotCache ?? false,
        instance_name: instanceNameSuffix,
        timeout: Number(action?.timeout?.seconds ?? 0) + (action?.timeout?.nanos ?? 0) / 1e9,
      },
    });
    if (queuedTimestamp !== undefined) {
      this.#span.child("Queued", { startedAt: timestampMs(queuedTimestamp) }).end();
    }
  }

  /** The span of what the action does now. */
  get current(): Span {
    return this.#stage ?? this.#span;
  }

  enter(stage: ExecutionStage): void {
    this.endStage();
    this.#stage = this.#span.child(STAGES[stage]);
  }

  endStage(): void {
    this.#stage?.end();
    this.#stage = undefined;
  }

  waitsFor(part: ActionPart, settled: Promise<unknown>): void {
    const span = this.#part(part);
    if (span !== undefined) {
      during(span, settled).catch(() => {});
    }
  }

  end({ status, result }: ExecuteResponse): void {
    this.endStage();
    for (const { count, withoutSpan } of [this.#fetches, this.#uploads]) {
      if (count > MAXIMUM_PARTS) {
        this.#span.set({ [withoutSpan]: count - MAXIMUM_PARTS });
      }
    }
    this.#span.set({ exit_code: result?.exitCode ?? 0 });
    this.#span.end(status !== undefined && status.code !== Code.OK ? status.message : undefined);
  }

  #part({ kind, digest, path }: ActionPart): Span | undefined {
    if (kind === "record") {
      return this.#span.child("UpdateActionResult");
    }
    const counted = kind === "fetch" ? this.#fetches : this.#uploads;
    if (!this.current.isRecording || counted.count++ >= MAXIMUM_PARTS) {
      return undefined;
    }
    return this.current.child(kind, {
      attributes: {
        ...(digest && { "digest.hash": digest.hash, "digest.size_bytes": digest.sizeBytes }),
        ...(path !== undefined && { path }),
      },
    });
  }
}
