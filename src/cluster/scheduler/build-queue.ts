import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type Any, type Duration, durationFromMs, durationMs, timestampNow } from "@bufbuild/protobuf/wkt";
import { failure } from "../../grpc/status.ts";
import type { Action } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  type DesiredState_Executing,
  DesiredState_ExecutingSchema,
  type SynchronizeRequest,
  type SynchronizeResponse,
} from "../../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { type Digest, digestKey } from "../../reapi/digest.ts";
import { digestMessage } from "../../reapi/wire-digest.ts";
import type { ActionInFlight } from "../needed-blobs.ts";
import { type BuildQueueOptions, DEFAULT_OPTIONS } from "./build-queue-options.ts";
import { Operation, Task } from "./operation.ts";
import { instanceNameSuffix, type PlatformKey } from "./platform.ts";
import { type PlatformQueue, PlatformQueues } from "./platform-queues.ts";
import { Workers } from "./workers.ts";

export interface BuildQueueStatistics {
  /** Worker threads that synchronize. */
  readonly workers: number;
  readonly queued: number;
  readonly executing: number;
  /** The most that were executing at the same time. */
  readonly maximumExecuting: number;
  readonly completed: number;
  /** Executions that joined an action that was already queued or executing. */
  readonly deduplicated: number;
}

/** What a client wants executed. */
export interface ExecutionRequest {
  readonly actionDigest: Digest;
  readonly action: Action;
  /** Instance name and platform of the action. */
  readonly key: PlatformKey;
  /** To be passed on with the result. */
  readonly auxiliaryMetadata: Any[];
  /** W3C Trace Context headers. */
  readonly traceContext: { [header: string]: string };
}

/**
 * The scheduler's state: the operations by which clients follow their actions, and the queues from which workers
 * take them. Behaves to workers and clients as Buildbarn's does, with one queue, first in first out, for each
 * instance name prefix and platform; size classes make no difference.
 */
export class BuildQueue {
  readonly #options: Required<BuildQueueOptions>;
  readonly #queues: PlatformQueues;
  readonly #workers: Workers;
  readonly #operations = new Map<string, Operation>();
  /** Queued and executing tasks that others may join, by action digest and instance. */
  readonly #inFlight = new Map<string, Task>();
  /** All that are queued or executing. */
  readonly #tasks = new Set<Task>();
  #completed = 0;
  #deduplicated = 0;
  #closed = false;

  constructor(options: BuildQueueOptions = {}) {
    this.#options = { ...DEFAULT_OPTIONS, ...options };
    this.#queues = new PlatformQueues(this.#options);
    this.#workers = new Workers(this.#options, this.#queues);
  }

  statistics(): BuildQueueStatistics {
    return {
      workers: this.#workers.count,
      queued: [...this.#queues].reduce((sum, queue) => sum + queue.tasks.size, 0),
      executing: this.#workers.executing,
      maximumExecuting: this.#workers.maximumExecuting,
      completed: this.#completed,
      deduplicated: this.#deduplicated,
    };
  }

  /** Resolves once at least `count` worker threads synchronize. Rejects with the signal's reason. */
  untilWorkers(count: number, signal: AbortSignal): Promise<void> {
    return this.#workers.until(count, signal);
  }

  /**
   * Queues an action, or joins it if it is already queued or executing.
   *
   * Throws INVALID_ARGUMENT for a timeout out of bounds, and FAILED_PRECONDITION or UNAVAILABLE if no worker has
   * the platform.
   */
  execute(request: ExecutionRequest): Operation {
    this.#requireOpen();
    const inFlightKey = `${digestKey(request.actionDigest)}@${request.actionDigest.instanceName}`;
    const joined = request.action.doNotCache ? undefined : this.#inFlight.get(inFlightKey);
    if (joined) {
      this.#deduplicated++;
      return this.#addOperation(joined);
    }
    const queue = this.#queues.forAction(request.key);
    const task = new Task(request.actionDigest, this.#desiredState(request, queue));
    if (!request.action.doNotCache) {
      this.#inFlight.set(inFlightKey, task);
    }
    this.#tasks.add(task);
    task.onCompletion = () => {
      this.#tasks.delete(task);
      if (this.#inFlight.get(inFlightKey) === task) {
        this.#inFlight.delete(inFlightKey);
      }
      queue.tasks.delete(task);
      this.#completed++;
    };
    const operation = this.#addOperation(task);
    queue.tasks.add(task);
    this.#workers.wakeOne(queue);
    return operation;
  }

  /** The actions that are queued or executing. */
  *actionsInFlight(): Generator<ActionInFlight> {
    for (const task of this.#tasks) {
      yield task.inFlight;
    }
  }

  operation(name: string): Operation | undefined {
    return this.#operations.get(name);
  }

  operations(): Iterable<Operation> {
    return this.#operations.values();
  }

  /** Ends the operation for its clients, and the task unless another operation follows it. */
  cancel(operation: Operation): void {
    operation.cancel();
    this.#detach(operation);
  }

  /** Forgets the operation, and cancels the task unless another operation follows it. */
  remove(operation: Operation): void {
    this.#operations.delete(operation.name);
    operation.dispose();
    this.#detach(operation);
  }

  /**
   * A worker's call: it says what it does now, and is told what to do. The answer to an idle worker waits for work.
   *
   * Rejects with INVALID_ARGUMENT for an impossible request, RESOURCE_EXHAUSTED while another call of the same
   * worker is being answered, and the signal's reason.
   */
  async synchronize(request: SynchronizeRequest, signal: AbortSignal): Promise<SynchronizeResponse> {
    this.#requireOpen();
    return this.#workers.synchronize(request, signal);
  }

  /** Ends all operations with UNAVAILABLE and lets waiting workers go. Further calls are refused. */
  close(): void {
    this.#closed = true;
    this.#workers.close();
    this.#queues.close();
    for (const operation of this.#operations.values()) {
      operation.task.fail(Code.UNAVAILABLE, "The scheduler is shutting down");
      operation.dispose();
    }
  }

  #requireOpen(): void {
    if (this.#closed) {
      throw failure(Code.UNAVAILABLE, "The scheduler is shutting down");
    }
  }

  #desiredState(
    { actionDigest, action, key, auxiliaryMetadata, traceContext }: ExecutionRequest,
    queue: PlatformQueue,
  ): DesiredState_Executing {
    return create(DesiredState_ExecutingSchema, {
      actionDigest: digestMessage(actionDigest),
      action: { ...action, timeout: this.#timeout(action) },
      queuedTimestamp: timestampNow(),
      auxiliaryMetadata,
      instanceNameSuffix: instanceNameSuffix(queue.key.instanceName, key.instanceName) ?? "",
      w3cTraceContext: traceContext,
      digestFunction: actionDigest.function.value,
    });
  }

  #timeout({ timeout }: Action): Duration {
    const { defaultExecutionTimeout, maximumExecutionTimeout } = this.#options;
    if (!timeout) {
      return durationFromMs(defaultExecutionTimeout);
    }
    const milliseconds = durationMs(timeout);
    if (milliseconds < 0 || milliseconds > maximumExecutionTimeout) {
      throw failure(
        Code.INVALID_ARGUMENT,
        `Execution timeout of ${milliseconds / 1000}s is outside permitted range [0s, ${maximumExecutionTimeout / 1000}s]`,
      );
    }
    return timeout;
  }

  #addOperation(task: Task): Operation {
    const operation = new Operation(
      randomUUID(),
      task,
      this.#options.abandonedOperationTimeout,
      this.#options.executionUpdateInterval,
    );
    operation.onAbandoned = () => this.remove(operation);
    task.operations.add(operation);
    this.#operations.set(operation.name, operation);
    return operation;
  }

  #detach(operation: Operation): void {
    const { task } = operation;
    task.operations.delete(operation);
    if (task.operations.size === 0) {
      task.fail(Code.CANCELLED, "Task no longer has any waiting clients");
    }
  }
}
