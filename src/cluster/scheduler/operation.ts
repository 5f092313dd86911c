import { create } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import { waitAtMost } from "../../async/wait.ts";
import { packAny, status } from "../../grpc/status.ts";
import {
  ExecuteOperationMetadataSchema,
  type ExecuteResponse,
  ExecuteResponseSchema,
  ExecutionStage_Value,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { DesiredState_Executing } from "../../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import {
  type Operation as OperationMessage,
  OperationSchema,
} from "../../proto/gen/google/longrunning/operations_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import type { Digest } from "../../reapi/digest.ts";
import { digestMessage } from "../../reapi/wire-digest.ts";
import type { ActionInFlight } from "../needed-blobs.ts";

/** One execution of an action, from queue to result. Clients follow it by one operation each. */
export class Task {
  readonly actionDigest: Digest;
  /** What the worker is told. */
  readonly desiredState: DesiredState_Executing;
  /** What it needs of storage. */
  readonly inFlight: ActionInFlight;
  readonly operations = new Set<Operation>();
  /** How often a worker that already had it asked for it again. */
  retryCount = 0;
  /** Called once, when there is a response. */
  onCompletion: () => void = () => {};
  #stage: ExecutionStage_Value = ExecutionStage_Value.QUEUED;
  #response: Any | undefined;
  #leaveWorker: () => void = () => {};
  #changed = Promise.withResolvers<void>();

  constructor(actionDigest: Digest, desiredState: DesiredState_Executing) {
    this.actionDigest = actionDigest;
    this.desiredState = desiredState;
    this.inFlight = { actionDigest, action: desiredState.action };
  }

  get stage(): ExecutionStage_Value {
    return this.#stage;
  }

  /** The ExecuteResponse, when completed. */
  get response(): Any | undefined {
    return this.#response;
  }

  /** Resolves at the next change of the stage. */
  get changed(): Promise<void> {
    return this.#changed.promise;
  }

  /** A worker has it now. `leaveWorker` is called when it no longer does. */
  start(leaveWorker: () => void): void {
    this.#leaveWorker = leaveWorker;
    this.#enter(ExecutionStage_Value.EXECUTING);
  }

  /** Only the first response counts. */
  complete(response: ExecuteResponse): void {
    if (this.#response) {
      return;
    }
    this.#response = packAny(ExecuteResponseSchema, response);
    this.#leaveWorker();
    this.onCompletion();
    this.#enter(ExecutionStage_Value.COMPLETED);
  }

  /** Completes it without a result. */
  fail(code: Code, message: string): void {
    this.complete(create(ExecuteResponseSchema, { status: status(code, message) }));
  }

  #enter(stage: ExecutionStage_Value): void {
    this.#stage = stage;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

/** What a client is given to follow a task with. */
export class Operation {
  readonly name: string;
  readonly task: Task;
  /** Called when no client has waited for the operation for a while. */
  onAbandoned: () => void = () => {};
  readonly #abandonedTimeout: number;
  readonly #updateInterval: number;
  readonly #cancelled = Promise.withResolvers<void>();
  #isCancelled = false;
  #waiters = 0;
  #abandonment: NodeJS.Timeout | undefined;

  /** Times in milliseconds. */
  constructor(name: string, task: Task, abandonedTimeout: number, updateInterval: number) {
    this.name = name;
    this.task = task;
    this.#abandonedTimeout = abandonedTimeout;
    this.#updateInterval = updateInterval;
    this.#startAbandonment();
  }

  /** The operation as it is now. */
  message(): OperationMessage {
    const { stage, actionDigest, response } = this.task;
    return operationMessage(this.name, stage, actionDigest, this.#isCancelled ? CANCELLED : response);
  }

  /**
   * The operation as it is now, and again after every change and update interval, until it is done. As long as
   * this is iterated, the operation does not count as abandoned. Throws the signal's reason when that aborts.
   */
  async *follow(signal: AbortSignal): AsyncGenerator<OperationMessage> {
    this.#waiters++;
    clearTimeout(this.#abandonment);
    try {
      for (;;) {
        const { changed } = this.task;
        const message = this.message();
        yield message;
        if (message.done) {
          return;
        }
        await waitAtMost(Promise.race([changed, this.#cancelled.promise]), this.#updateInterval, signal);
      }
    } finally {
      this.#waiters--;
      if (this.#waiters === 0) {
        this.#startAbandonment();
      }
    }
  }

  /** Ends the operation with CANCELLED, unless the task is completed. */
  cancel(): void {
    if (this.task.response) {
      return;
    }
    this.#isCancelled = true;
    this.#cancelled.resolve();
  }

  dispose(): void {
    clearTimeout(this.#abandonment);
  }

  #startAbandonment(): void {
    this.#abandonment = setTimeout(() => this.onAbandoned(), this.#abandonedTimeout).unref();
  }
}

const CANCELLED = status(Code.CANCELLED, "The operation was cancelled");

/** An operation's message. The operation is done if there is a result. */
export function operationMessage(
  name: string,
  stage: ExecutionStage_Value,
  actionDigest: Digest,
  result: Any | typeof CANCELLED | undefined,
): OperationMessage {
  return create(OperationSchema, {
    name,
    metadata: packAny(ExecuteOperationMetadataSchema, {
      stage: result ? ExecutionStage_Value.COMPLETED : stage,
      actionDigest: digestMessage(actionDigest),
      digestFunction: actionDigest.function.value,
    }),
    ...(result && {
      done: true,
      result:
        result.$typeName === "google.protobuf.Any"
          ? { case: "response" as const, value: result }
          : { case: "error" as const, value: result },
    }),
  });
}
