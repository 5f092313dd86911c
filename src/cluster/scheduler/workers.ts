import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampNow } from "@bufbuild/protobuf/wkt";
import { unlessAborted, waitAtMost } from "../../async/wait.ts";
import { failure } from "../../grpc/status.ts";
import {
  type CurrentState_Executing,
  type SynchronizeRequest,
  type SynchronizeResponse,
  SynchronizeResponseSchema,
} from "../../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import type { BuildQueueOptions } from "./build-queue-options.ts";
import type { Task } from "./operation.ts";
import { platformKey } from "./platform.ts";
import type { PlatformQueue, PlatformQueues, Worker } from "./platform-queues.ts";

/** How long a worker's call waits for the same worker's previous one to end, before it is refused. */
const CANCELLATION_MILLISECONDS = 200;

/** The workers: who there is, what each executes, and what it is told when it synchronizes. */
export class Workers {
  readonly #options: Required<BuildQueueOptions>;
  readonly #queues: PlatformQueues;
  #executing = 0;
  #maximumExecuting = 0;
  #workerAdded = Promise.withResolvers<void>();

  constructor(options: Required<BuildQueueOptions>, queues: PlatformQueues) {
    this.#options = options;
    this.#queues = queues;
  }

  /** Worker threads that synchronize. */
  get count(): number {
    return [...this.#queues].reduce((sum, queue) => sum + queue.workers.size, 0);
  }

  /** Those that execute an action. */
  get executing(): number {
    return this.#executing;
  }

  /** The most that were executing at the same time. */
  get maximumExecuting(): number {
    return this.#maximumExecuting;
  }

  /** Resolves once at least `count` worker threads synchronize. Rejects with the signal's reason. */
  async until(count: number, signal: AbortSignal): Promise<void> {
    while (this.count < count) {
      await unlessAborted(this.#workerAdded.promise, signal);
    }
  }

  /** Gives the queue's next task to the worker that has been idle longest, if any is. */
  wakeOne(queue: PlatformQueue): void {
    const [worker] = queue.idle;
    if (worker) {
      this.#assignNextTask(worker);
    }
  }

  /** See BuildQueue. */
  async synchronize(request: SynchronizeRequest, signal: AbortSignal): Promise<SynchronizeResponse> {
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
      const { preferBeingIdle } = request;
      return await (state.case === "idle"
        ? this.#currentOrNextTask(worker, { signal, preferBeingIdle })
        : this.#answerExecuting(worker, state.value, { signal, preferBeingIdle }));
    } finally {
      endCall();
      this.#awaitNextCall(worker);
    }
  }

  /** Answers all calls that are held. */
  close(): void {
    for (const queue of this.#queues) {
      for (const worker of queue.workers.values()) {
        clearTimeout(worker.loss);
        worker.wake?.();
      }
    }
  }

  #answerExecuting(
    worker: Worker,
    { actionDigest, executionState }: CurrentState_Executing,
    wait: Waiting,
  ): SynchronizeResponse | Promise<SynchronizeResponse> {
    const { task } = worker;
    const isRightTask =
      task !== undefined &&
      task.actionDigest.hash === actionDigest?.hash &&
      BigInt(task.actionDigest.sizeBytes) === actionDigest.sizeBytes;
    if (executionState.case === "completed") {
      if (!isRightTask) {
        return this.#currentOrNextTask(worker, wait);
      }
      task.complete(executionState.value);
      return this.#nextTask(worker, wait);
    }
    if (!isRightTask) {
      return this.#currentOrNextTask(worker, { ...wait, signal: undefined });
    }
    return create(SynchronizeResponseSchema, { nextSynchronizationAt: this.#nextSynchronization() });
  }

  #worker(request: SynchronizeRequest): Worker {
    const queue = this.#queues.forWorker(platformKey(request.instanceNamePrefix, request.platform));
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
    // The worker may have given up the previous call for this one, and we are about to learn of that.
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
    worker.loss = setTimeout(() => this.#lose(worker), this.#options.lostWorkerTimeout).unref();
  }

  #lose({ name, queue, task }: Worker): void {
    task?.fail(Code.UNAVAILABLE, `Worker ${name} disappeared while task was executing`);
    queue.workers.delete(name);
    if (queue.workers.size === 0) {
      this.#queues.removeLater(queue);
    }
  }

  async #currentOrNextTask(worker: Worker, wait: Waiting): Promise<SynchronizeResponse> {
    const { task } = worker;
    if (!task) {
      return this.#nextTask(worker, wait);
    }
    if (task.retryCount < this.#options.workerTaskRetryCount) {
      task.retryCount++;
      return this.#start(task);
    }
    task.fail(
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
        await waitAtMost(woken.promise, this.#options.idleWorkerSynchronizationInterval, signal);
      } finally {
        worker.queue.idle.delete(worker);
        worker.wake = undefined;
      }
    }
    return worker.task ? this.#start(worker.task) : beIdle();
  }

  /** Whether there was a task. */
  #assignNextTask(worker: Worker): boolean {
    const { queue } = worker;
    const [task] = queue.tasks;
    if (!task) {
      return false;
    }
    queue.tasks.delete(task);
    queue.idle.delete(worker);
    worker.task = task;
    this.#executing++;
    this.#maximumExecuting = Math.max(this.#maximumExecuting, this.#executing);
    task.start(() => {
      worker.task = undefined;
      this.#executing--;
    });
    worker.wake?.();
    return true;
  }

  #start(task: Task): SynchronizeResponse {
    return create(SynchronizeResponseSchema, {
      nextSynchronizationAt: this.#nextSynchronization(),
      desiredState: { workerState: { case: "executing", value: task.desiredState } },
    });
  }

  #nextSynchronization() {
    return timestampFromMs(Date.now() + this.#options.busyWorkerSynchronizationInterval);
  }
}

interface Waiting {
  /** Absent if the call must not wait for work, as the worker has to stop something first. */
  readonly signal: AbortSignal | undefined;
  readonly preferBeingIdle: boolean;
}

function beIdle(): SynchronizeResponse {
  return create(SynchronizeResponseSchema, {
    nextSynchronizationAt: timestampNow(),
    desiredState: { workerState: { case: "idle", value: {} } },
  });
}
