import { MessageChannel, type MessagePort } from "node:worker_threads";
import { Piscina } from "piscina";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { BlobError } from "../../reapi/blob-error.ts";
import { asFrame } from "../local/layout.ts";
import { LightTasks } from "./light-tasks.ts";
import { closed, createTaskRunner } from "./task-runner.ts";
import type { PoolMessage, ThreadMessage, ThreadResult, ThreadTask } from "./thread-messages.ts";
import type { TransferContext, TransferResults, TransferSettings, TransferTask } from "./transfer-task.ts";
import type { RandomAccess } from "./upload-source.ts";

/** Transfers, decompresses and hashes blobs, in threads of its own but for light tasks: see LightTasks. */
export interface TransferPool {
  /** Rejects with {@link BlobError}; with the signal's reason once that aborts. */
  run<T extends TransferTask>(task: T, context?: TransferContext): Promise<TransferResults[T["kind"]]>;
  /**
   * Begins to connect to the servers. Unless threads are to start late, resolves once every thread runs and has begun
   * that, too. Rejects with {@link BlobError}.
   */
  start(): Promise<void>;
  /** Aborts what runs; what comes later is rejected. */
  close(): Promise<void>;
}

export interface TransferPoolOptions extends TransferSettings {
  /** With 0, the calling thread does the work. */
  readonly threads: number;
  /** Whether threads start only when there is something for them to do. Default: with the pool. */
  readonly startThreadsLate?: boolean;
  /** The module to run {@link ThreadTask}s with, instead of our own. */
  readonly thread?: URL;
}

/** A transfer mostly waits: one thread serves many at a time. */
const TASKS_PER_THREAD = 64;
/** A task whose thread dies goes to another one, but only so often, as it may be what kills them. */
const MAXIMUM_THREAD_DEATHS = 2;

export function createTransferPool({
  threads,
  startThreadsLate = false,
  thread = ownThread(),
  ...settings
}: TransferPoolOptions): TransferPool {
  return threads === 0 ? inlinePool(settings) : threadPool(threads, startThreadsLate, thread, settings);
}

function inlinePool(settings: TransferSettings): TransferPool {
  const runner = createTaskRunner(settings);
  return {
    run: (task, context) => runner.run(task, context),
    start: () => runner.run({ kind: "connect" }),
    async close() {
      runner.close();
    },
  };
}

function threadPool(
  threads: number,
  startThreadsLate: boolean,
  thread: URL,
  settings: TransferSettings,
): TransferPool {
  const own = createTaskRunner(settings);
  const light = new LightTasks(own);
  const calls = new Map<number, (message: ThreadMessage) => void>();
  let lastCall = 0;
  let piscina: Piscina | undefined;
  /** Threads take long to start: not before there is something to do for them. */
  const started = (): Piscina => {
    if (piscina === undefined) {
      piscina = new Piscina({
        filename: thread.href,
        workerData: settings,
        minThreads: threads,
        maxThreads: threads,
        concurrentTasksPerWorker: TASKS_PER_THREAD,
        // A thread that waits for tasks in Atomics.wait() would not answer its connections' pings.
        atomics: "disabled",
        // Messages are short-lived: more room for them only makes the process larger.
        resourceLimits: { maxYoungGenerationSizeMb: 8 },
      });
      // A thread has died without a task; piscina starts another.
      piscina.on("error", () => {});
      piscina.on("message", (message: ThreadMessage) => calls.get(message.call)?.(message));
    }
    return piscina;
  };
  const closing = new AbortController();

  function run<T extends TransferTask>(
    task: T,
    context: TransferContext = {},
  ): Promise<TransferResults[T["kind"]]> {
    return light.run(task, context) ?? runInThread(task, context);
  }

  async function runInThread<T extends TransferTask>(
    task: T,
    context: TransferContext,
  ): Promise<TransferResults[T["kind"]]> {
    for (let deaths = 0; ; ) {
      context.signal?.throwIfAborted();
      if (closing.signal.aborted) {
        throw closed();
      }
      const outcome = await attempt(task, context).catch((error: Error) => error);
      if (!(outcome instanceof Error)) {
        if ("result" in outcome) {
          return outcome.result as TransferResults[T["kind"]];
        }
        context.signal?.throwIfAborted();
        throw new BlobError(outcome.error.code, outcome.error.message);
      }
      context.signal?.throwIfAborted();
      if (closing.signal.aborted) {
        throw closed();
      }
      if (++deaths >= MAXIMUM_THREAD_DEATHS) {
        throw new BlobError(Code.INTERNAL, `${task.kind}: the thread died: ${outcome.message}`, undefined, {
          cause: outcome,
        });
      }
    }
  }

  async function attempt(task: TransferTask, context: TransferContext): Promise<ThreadResult> {
    const call = ++lastCall;
    const { signal, source } = context;
    const { port1: port, port2 } = signal || source ? new MessageChannel() : {};
    const answer = port && sourceServer(port, source);
    let received = 0;
    let heard = () => {};
    calls.set(call, (message) => {
      received++;
      if (message.kind === "chunk") {
        context.chunk?.(message.index, asFrame(message.frame));
      } else {
        answer?.(message);
      }
      heard();
    });
    const abort = () => port?.postMessage({ kind: "abort" } satisfies PoolMessage);
    signal?.addEventListener("abort", abort);
    try {
      const outcome: ThreadResult = await (port2
        ? started().run({ call, task, port: port2 } satisfies ThreadTask, { transferList: [port2] })
        : started().run({ call, task } satisfies ThreadTask));
      if ("messages" in outcome) {
        while (received < outcome.messages) {
          await new Promise<void>((resolve) => (heard = resolve));
        }
      }
      return outcome;
    } finally {
      calls.delete(call);
      signal?.removeEventListener("abort", abort);
      port?.close();
    }
  }

  return {
    run,
    async start() {
      // One each, as a task goes to the thread that has the fewest.
      const length = startThreadsLate ? 0 : threads;
      const threadStarts = Array.from({ length }, () => run({ kind: "connect" }));
      await Promise.all([own.run({ kind: "connect" }), ...threadStarts]);
    },
    async close() {
      if (closing.signal.aborted) {
        return;
      }
      closing.abort();
      own.close();
      await piscina?.destroy();
    },
  };
}

/** Its suffix is .ts where sources run as they are, and .js where they are compiled. */
function ownThread(): URL {
  return new URL(
    `./transfer-thread${import.meta.url.slice(import.meta.url.lastIndexOf("."))}`,
    import.meta.url,
  );
}

/** Answers a thread that reads the source it is to hash or upload. */
function sourceServer(port: MessagePort, source: RandomAccess | undefined) {
  return async ({ id, offset, count }: ThreadMessage & { kind: "read" }): Promise<void> => {
    try {
      // A view would take the whole buffer along.
      const copy = new Uint8Array(await source!.read(offset, count));
      port.postMessage({ kind: "bytes", id, bytes: copy } satisfies PoolMessage, [copy.buffer]);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      port.postMessage({ kind: "readError", id, message } satisfies PoolMessage);
    }
  };
}
