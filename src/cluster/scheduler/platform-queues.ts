import { failure } from "../../grpc/status.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import type { BuildQueueOptions } from "./build-queue-options.ts";
import type { Task } from "./operation.ts";
import { instanceNameSuffix, type PlatformKey } from "./platform.ts";

/** Workers of one instance name prefix and platform, and the tasks that wait for them. */
export interface PlatformQueue {
  readonly key: PlatformKey;
  readonly workers: Map<string, Worker>;
  readonly tasks: Set<Task>;
  /** Workers whose call is held, in the order in which they came. */
  readonly idle: Set<Worker>;
  removal: NodeJS.Timeout | undefined;
}

/** One thread of a worker process, which executes one action at a time. */
export interface Worker {
  /** Its id's entries, as JSON. */
  readonly name: string;
  readonly queue: PlatformQueue;
  task: Task | undefined;
  /** Ends the wait of its held call. */
  wake: (() => void) | undefined;
  /** Runs while none of its calls is being answered. */
  loss: NodeJS.Timeout | undefined;
  /** Resolves when the call that is being answered has been answered; undefined if there is none. */
  call: Promise<void> | undefined;
}

/** A queue for each instance name prefix and platform that workers have, or had recently. */
export class PlatformQueues implements Iterable<PlatformQueue> {
  readonly #options: Required<BuildQueueOptions>;
  readonly #startedAt = performance.now();
  readonly #queues: PlatformQueue[] = [];

  constructor(options: Required<BuildQueueOptions>) {
    this.#options = options;
  }

  [Symbol.iterator](): Iterator<PlatformQueue> {
    return this.#queues.values();
  }

  /** The queue with the longest prefix that fits. Throws FAILED_PRECONDITION or UNAVAILABLE if none does. */
  forAction({ instanceName, platform }: PlatformKey): PlatformQueue {
    const candidates = this.#queues.filter(
      ({ key }) =>
        key.platform === platform && instanceNameSuffix(key.instanceName, instanceName) !== undefined,
    );
    const [queue] = candidates.sort((a, b) => b.key.instanceName.length - a.key.instanceName.length);
    if (queue) {
      return queue;
    }
    throw failure(
      performance.now() - this.#startedAt < this.#options.startupGrace
        ? Code.UNAVAILABLE
        : Code.FAILED_PRECONDITION,
      `No workers exist for instance name prefix ${JSON.stringify(instanceName)} platform ${platform}`,
    );
  }

  /** The queue of exactly this prefix and platform; a new one if there is none. */
  forWorker({ instanceName, platform }: PlatformKey): PlatformQueue {
    let queue = this.#queues.find(
      ({ key }) => key.instanceName === instanceName && key.platform === platform,
    );
    if (!queue) {
      const key = { instanceName, platform };
      queue = { key, workers: new Map(), tasks: new Set(), idle: new Set(), removal: undefined };
      this.#queues.push(queue);
    }
    clearTimeout(queue.removal);
    return queue;
  }

  /** Forgets a queue whose last worker is gone, unless another worker comes in time. */
  removeLater(queue: PlatformQueue): void {
    queue.removal = setTimeout(() => {
      this.#queues.splice(this.#queues.indexOf(queue), 1);
      for (const task of queue.tasks) {
        task.fail(
          Code.UNAVAILABLE,
          "Workers for this instance name and platform disappeared while task was queued",
        );
      }
    }, this.#options.platformWithoutWorkersTimeout).unref();
  }

  close(): void {
    for (const queue of this.#queues) {
      clearTimeout(queue.removal);
    }
  }
}
