import type { TaskRunner } from "./task-runner.ts";
import type { TransferContext, TransferResults, TransferTask } from "./transfer-task.ts";

/** Up to so many bytes of content, and so many digests, a task is light. */
const LIGHT_BYTES = 64 * 1024;
const LIGHT_COUNT = 16;

/**
 * Runs light tasks in the calling thread as long as they come one at a time: then a detour through another thread, and
 * waking both, costs more than it spares. What comes while one is in progress is for the threads.
 */
export class LightTasks {
  readonly #runner: TaskRunner;
  #isBusy = false;

  constructor(runner: TaskRunner) {
    this.#runner = runner;
  }

  /** As the pool's `run`; undefined if the task is for a thread. */
  run<T extends TransferTask>(
    task: T,
    context: TransferContext,
  ): Promise<TransferResults[T["kind"]]> | undefined {
    return this.#isBusy || !isLight(task) ? undefined : this.#run(task, context);
  }

  async #run<T extends TransferTask>(task: T, context: TransferContext): Promise<TransferResults[T["kind"]]> {
    this.#isBusy = true;
    try {
      return await this.#runner.run(task, context);
    } finally {
      this.#isBusy = false;
    }
  }
}

function isLight(task: TransferTask): boolean {
  switch (task.kind) {
    case "fetchBlobs":
      return task.together && isSmall(task.digests, ({ sizeBytes }) => sizeBytes);
    case "findMissing":
      return isSmall(task.digests, () => 0);
    case "uploadBatch":
      return isSmall(task.blobs, ({ content }) => content.length);
    default:
      return false;
  }
}

function isSmall<T>(items: readonly T[], bytes: (item: T) => number): boolean {
  return items.length <= LIGHT_COUNT && items.reduce((sum, item) => sum + bytes(item), 0) <= LIGHT_BYTES;
}
