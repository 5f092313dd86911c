import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import {
  type Any,
  type Duration,
  durationFromMs,
  durationMs,
  timestampFromMs,
  timestampNow,
} from "@bufbuild/protobuf/wkt";
import { status } from "../../grpc/status.ts";
import {
  type Action,
  type DigestFunction_Value,
  ExecuteResponseSchema,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  type DesiredState_Executing,
  DesiredState_ExecutingSchema,
  type SynchronizeRequest,
  type SynchronizeResponse,
  SynchronizeResponseSchema,
} from "../../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { type Digest, digestKey } from "../../reapi/digest.ts";
import { digestMessage } from "../../reapi/wire-digest.ts";
import { failure } from "../handlers.ts";
import { Operation, Task } from "./operation.ts";
import { instanceNameSuffix, type PlatformKey, platformKey } from "./platform.ts";
import { waitAtMost } from "./wait.ts";

/** Times in milliseconds, with defaults for a single machine. */
export interface BuildQueueOptions {
  /** An operation that no client waits for is cancelled after this. Default 10 s. */
  readonly abandonedOperationTimeout?: number;
  /** How often a client hears of an operation whose stage does not change. Default 60 s. */
  readonly executionUpdateInterval?: number;
  /** How often a busy worker has to synchronize, which bounds how late it hears of a cancellation. Default 1 s. */
  readonly busyWorkerSynchronizationInterval?: number;
  /** How long an idle worker's call is held until there is work. Default 60 s. */
  readonly idleWorkerSynchronizationInterval?: number;
  /** A worker that does not synchronize for this long is lost, and what it runs fails. Default 20 s. */
  readonly lostWorkerTimeout?: number;
  /** A platform stays known for this long after its last worker; its actions wait for one. Default 15 min. */
  readonly platformWithoutWorkersTimeout?: number;
  /** After the start, a platform that no worker has is reported as UNAVAILABLE for this long. Default 60 s. */
  readonly startupGrace?: number;
  /** How often a worker may ask anew for an action that it was given already. Default 9. */
  readonly workerTaskRetryCount?: number;
  /** For actions that have no timeout. Default 1 h. */
  readonly defaultExecutionTimeout?: number;
  /** Default 24 h. */
  readonly maximumExecutionTimeout?: number;
}

const DEFAULTS: Required<BuildQueueOptions> = {
  abandonedOperationTimeout: 10_000,
  executionUpdateInterval: 60_000,
  busyWorkerSynchronizationInterval: 1000,
  idleWorkerSynchronizationInterval: 60_000,
  lostWorkerTimeout: 20_000,
  platformWithoutWorkersTimeout: 900_000,
  startupGrace: 60_000,
  workerTaskRetryCount: 9,
  defaultExecutionTimeout: 3_600_000,
  maximumExecutionTimeout: 86_400_000,
};

/** How long a worker's call waits for another one of the same worker to end, before it is refused. */
const CANCELLATION_MILLISECONDS = 200;

export interface BuildQueueStatistics {
  /** Worker threads that synchronize. */
  workers: number;
  queued: number;
  executing: number;
  /** The most that were executing at the same time. */
  maximumExecuting: number;
  completed: number;
  /** Executions that joined an action which was queued or executing already. */
  deduplicated: number;
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

/** Workers of one instance name prefix and platform, and the tasks that wait for them. */
interface PlatformQueue {
  readonly key: PlatformKey;
  readonly workers: Map<string, Worker>;
  readonly tasks: Set<Task>;
  /** Workers whose call is held, longest first. */
  readonly idle: Set<Worker>;
  removal: NodeJS.Timeout | undefined;
}

/** One thread of a worker process, which executes one action at a time. */
interface Worker {
  /** Its id's entries, as JSON. */
  readonly name: string;
  readonly queue: PlatformQueue;
  task: Task | undefined;
  /** Ends the wait of its held call. */
  wake: (() => void) | undefined;
  /** Runs while no call of it is being answered. */
  loss: NodeJS.Timeout | undefined;
  /** Resolves when the call of it that is being answered has been; undefined where there is none. */
  call: Promise<void> | undefined;
}

/**
 * The scheduler's state: which workers there are, what they execute, what waits for them, and the operations by
 * which clients follow it. Behaves to workers and clients as Buildbarn's does, with one queue, first in first
 * out, for each instance name prefix and platform; size classes make no difference.
 */
export class BuildQueue {
  readonly options: Required<BuildQueueOptions>;
  readonly #startedAt = performance.now();
  readonly #queues: PlatformQueue[] = [];
  readonly #operations = new Map<string, Operation>();
  /** Queued and executing tasks that others may join, by action digest and instance. */
  readonly #inFlight = new Map<string, Task>();
  readonly #statistics = { executing: 0, maximumExecuting: 0, completed: 0, deduplicated: 0 };
  #workerAdded = Promise.withResolvers<void>();
  #closed = false;

  constructor(options: BuildQueueOptions = {}) {
    this.options = { ...DEFAULTS, ...options };
  }

  statistics(): BuildQueueStatistics {
    return {
      ...this.#statistics,
      workers: this.#queues.reduce((sum, queue) => sum + queue.workers.size, 0),
      queued: this.#queues.reduce((sum, queue) => sum + queue.tasks.size, 0),
    };
  }

  /**
   * Queues an action, or joins it where it is queued or executing already.
   *
   * Throws INVALID_ARGUMENT for a timeout out of bounds, and FAILED_PRECONDITION or UNAVAILABLE where no worker
   * has the platform.
   */
  execute(request: ExecutionRequest): Operation {
    this.#requireOpen();
    const inFlightKey = `${digestKey(request.actionDigest)}@${request.actionDigest.instanceName}`;
    const joined = request.action.doNotCache ? undefined : this.#inFlight.get(inFlightKey);
    if (joined) {
      this.#statistics.deduplicated++;
      return this.#addOperation(joined);
    }
    const queue = this.#queueFor(request.key);
    const task = new Task(request.actionDigest, this.#desiredState(request, queue));
    if (!request.action.doNotCache) {
      this.#inFlight.set(inFlightKey, task);
    }
    task.onCompletion = () => {
      if (this.#inFlight.get(inFlightKey) === task) {
        this.#inFlight.delete(inFlightKey);
      }
      queue.tasks.delete(task);
      this.#statistics.completed++;
    };
    const operation = this.#addOperation(task);
    queue.tasks.add(task);
    for (const worker of queue.idle) {
      this.#assignNextTask(worker);
      break;
    }
    return operation;
  }

  /** Resolves when so many worker threads synchronize. Rejects with the signal's reason. */
  async untilWorkers(count: number, signal: AbortSignal): Promise<void> {
    while (this.statistics().workers < count) {
      await waitAtMost(this.#workerAdded.promise, Number.POSITIVE_INFINITY, signal);
    }
  }

  operation(name: string): Operation | undefined {
    return this.#operations.get(name);
  }

  operations(): Iterable<Operation> {
    return this.#operations.values();
  }

  /** Ends the operation for its clients, and the task where no other operation follows it. */
  cancel(operation: Operation): void {
    operation.cancel();
    this.#detach(operation);
  }

  /** Forgets the operation. The task is cancelled where no other operation follows it. */
  remove(operation: Operation): void {
    this.#operations.delete(operation.name);
    operation.dispose();
    this.#detach(operation);
  }

  /**
   * A worker's call: what it does now, answered by what it is to do. An idle worker's answer waits for work.
   *
   * Rejects with INVALID_ARGUMENT for a request that cannot be, RESOURCE_EXHAUSTED where a call of the same worker
   * is not answered yet, and the signal's reason.
   */
  async synchronize(request: SynchronizeRequest, signal: AbortSignal): Promise<SynchronizeResponse> {
    this.#requireOpen();
    const state = request.currentState?.workerState;
    if (!state?.case) {
      throw failure(Code.INVALID_ARGUMENT, "Worker did not provide its current state");
    }
    if (state.case === "executing" && !state.value.actionDigest) {
      throw failure(Code.INVALID_ARGUMENT, "Worker is executing, but provided no action digest");
    }
    const worker = this.#worker(request);
    const endCall = await this.#beginCall(worker, signal);
    clearTimeout(worker.loss);
    try {
      const mayBlock = { signal, preferBeingIdle: request.preferBeingIdle };
      const mayNotBlock = { signal: undefined, preferBeingIdle: request.preferBeingIdle };
      if (state.case === "idle") {
        return await this.#currentOrNextTask(worker, mayBlock);
      }
      const { actionDigest, executionState } = state.value;
      const isRightTask =
        worker.task !== undefined &&
        worker.task.actionDigest.hash === actionDigest?.hash &&
        BigInt(worker.task.actionDigest.sizeBytes) === actionDigest.sizeBytes;
      if (executionState.case === "completed") {
        if (!isRightTask) {
          return await this.#currentOrNextTask(worker, mayBlock);
        }
        worker.task?.complete(executionState.value);
        return await this.#nextTask(worker, mayBlock);
      }
      if (!isRightTask) {
        return await this.#currentOrNextTask(worker, mayNotBlock);
      }
      return this.#goOn();
    } finally {
      endCall();
      this.#awaitNextCall(worker);
    }
  }

  /** Ends all operations with UNAVAILABLE and lets waiting workers go. Further calls are refused. */
  close(): void {
    this.#closed = true;
    for (const queue of [...this.#queues]) {
      for (const worker of queue.workers.values()) {
        clearTimeout(worker.loss);
        worker.wake?.();
      }
      clearTimeout(queue.removal);
    }
    for (const operation of this.#operations.values()) {
      this.#fail(operation.task, Code.UNAVAILABLE, "The scheduler is shutting down");
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
      digestFunction: actionDigest.function.value as DigestFunction_Value,
    });
  }

  #timeout({ timeout }: Action): Duration {
    const { defaultExecutionTimeout, maximumExecutionTimeout } = this.options;
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

  /** The queue with the longest instance name prefix. */
  #queueFor({ instanceName, platform }: PlatformKey): PlatformQueue {
    const candidates = this.#queues.filter(
      ({ key }) =>
        key.platform === platform && instanceNameSuffix(key.instanceName, instanceName) !== undefined,
    );
    const [queue] = candidates.sort((a, b) => b.key.instanceName.length - a.key.instanceName.length);
    if (queue) {
      return queue;
    }
    const code =
      performance.now() - this.#startedAt < this.options.startupGrace
        ? Code.UNAVAILABLE
        : Code.FAILED_PRECONDITION;
    throw failure(
      code,
      `No workers exist for instance name prefix ${JSON.stringify(instanceName)} platform ${platform}`,
    );
  }

  #addOperation(task: Task): Operation {
    const operation = new Operation(
      randomUUID(),
      task,
      this.options.abandonedOperationTimeout,
      this.options.executionUpdateInterval,
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
      this.#fail(task, Code.CANCELLED, "Task no longer has any waiting clients");
    }
  }

  #worker(request: SynchronizeRequest): Worker {
    const key = platformKey(request.instanceNamePrefix, request.platform);
    let queue = this.#queues.find(
      (candidate) =>
        candidate.key.instanceName === key.instanceName && candidate.key.platform === key.platform,
    );
    if (!queue) {
      queue = { key, workers: new Map(), tasks: new Set(), idle: new Set(), removal: undefined };
      this.#queues.push(queue);
    }
    clearTimeout(queue.removal);
    const name = JSON.stringify(
      Object.fromEntries(Object.entries(request.workerId).sort(([a], [b]) => (a < b ? -1 : 1))),
    );
    let worker = queue.workers.get(name);
    if (!worker) {
      worker = { name, queue, task: undefined, wake: undefined, loss: undefined, call: undefined };
      this.#awaitNextCall(worker);
      queue.workers.set(name, worker);
      this.#workerAdded.resolve();
      this.#workerAdded = Promise.withResolvers();
    }
    return worker;
  }

  /** Only one call of a worker is answered at a time. The returned function ends it. */
  async #beginCall(worker: Worker, signal: AbortSignal): Promise<() => void> {
    // A call that the worker has given up for this one may be a moment from being seen as cancelled.
    await waitAtMost(worker.call ?? Promise.resolve(), CANCELLATION_MILLISECONDS, signal);
    if (worker.call) {
      throw failure(
        Code.RESOURCE_EXHAUSTED,
        "A worker with the same worker ID is already synchronizing with the scheduler",
      );
    }
    const call = Promise.withResolvers<void>();
    worker.call = call.promise;
    return () => {
      worker.call = undefined;
      call.resolve();
    };
  }

  #awaitNextCall(worker: Worker): void {
    worker.loss = setTimeout(() => this.#loseWorker(worker), this.options.lostWorkerTimeout).unref();
  }

  #loseWorker(worker: Worker): void {
    const { queue } = worker;
    if (worker.task) {
      this.#fail(worker.task, Code.UNAVAILABLE, `Worker ${worker.name} disappeared while task was executing`);
    }
    queue.workers.delete(worker.name);
    if (queue.workers.size > 0) {
      return;
    }
    queue.removal = setTimeout(
      () => this.#removeQueue(queue),
      this.options.platformWithoutWorkersTimeout,
    ).unref();
  }

  #removeQueue(queue: PlatformQueue): void {
    this.#queues.splice(this.#queues.indexOf(queue), 1);
    for (const task of queue.tasks) {
      this.#fail(
        task,
        Code.UNAVAILABLE,
        "Workers for this instance name and platform disappeared while task was queued",
      );
    }
  }

  async #currentOrNextTask(worker: Worker, wait: Waiting): Promise<SynchronizeResponse> {
    const { task } = worker;
    if (!task) {
      return this.#nextTask(worker, wait);
    }
    if (task.retryCount < this.options.workerTaskRetryCount) {
      task.retryCount++;
      return this.#start(task);
    }
    this.#fail(
      task,
      Code.INTERNAL,
      `Attempted to execute task ${task.retryCount + 1} times, but it never completed. ` +
        `This task may cause worker ${worker.name} to crash.`,
    );
    return this.#nextTask(worker, wait);
  }

  async #nextTask(worker: Worker, { signal, preferBeingIdle }: Waiting): Promise<SynchronizeResponse> {
    if (preferBeingIdle) {
      return beIdle();
    }
    if (!this.#assignNextTask(worker) && signal) {
      const woken = Promise.withResolvers<void>();
      worker.wake = woken.resolve;
      worker.queue.idle.add(worker);
      try {
        await waitAtMost(woken.promise, this.options.idleWorkerSynchronizationInterval, signal);
      } finally {
        worker.queue.idle.delete(worker);
        worker.wake = undefined;
      }
    }
    return worker.task ? this.#start(worker.task) : beIdle();
  }

  #assignNextTask(worker: Worker): boolean {
    for (const task of worker.queue.tasks) {
      worker.queue.tasks.delete(task);
      worker.queue.idle.delete(worker);
      worker.task = task;
      this.#statistics.executing++;
      this.#statistics.maximumExecuting = Math.max(
        this.#statistics.maximumExecuting,
        this.#statistics.executing,
      );
      task.start(() => {
        worker.task = undefined;
        this.#statistics.executing--;
      });
      worker.wake?.();
      return true;
    }
    return false;
  }

  #fail(task: Task, code: Code, message: string): void {
    task.complete(create(ExecuteResponseSchema, { status: status(code, message) }));
  }

  #start(task: Task): SynchronizeResponse {
    return create(SynchronizeResponseSchema, {
      nextSynchronizationAt: this.#nextSynchronization(),
      desiredState: { workerState: { case: "executing", value: task.desiredState } },
    });
  }

  #goOn(): SynchronizeResponse {
    return create(SynchronizeResponseSchema, { nextSynchronizationAt: this.#nextSynchronization() });
  }

  #nextSynchronization() {
    return timestampFromMs(Date.now() + this.options.busyWorkerSynchronizationInterval);
  }
}

interface Waiting {
  /** Absent where the call must not wait for work, as the worker has something to stop first. */
  readonly signal: AbortSignal | undefined;
  readonly preferBeingIdle: boolean;
}

function beIdle(): SynchronizeResponse {
  return create(SynchronizeResponseSchema, {
    nextSynchronizationAt: timestampNow(),
    desiredState: { workerState: { case: "idle", value: {} } },
  });
}
