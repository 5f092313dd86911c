import { MessageChannel, type MessagePort } from "node:worker_threads";
import { status as Status } from "@grpc/grpc-js";
import { Piscina } from "piscina";
import { BlobError } from "./content-source.ts";
import {
  createFetchRunner,
  type FetchContext,
  type FetchResults,
  type FetchSettings,
  type FetchTask,
} from "./fetch-tasks.ts";
import type { PoolMessage, ThreadMessage, ThreadResult, ThreadTask } from "./fetch-thread.ts";

/** Does the work of transferring, decompressing, hashing and storing blobs. */
export interface FetchPool {
  /** Rejects with {@link BlobError}; with the signal's reason once that aborts. */
  run<T extends FetchTask>(task: T, context?: FetchContext): Promise<FetchResults[T["kind"]]>;
  /** What runs is aborted; what comes later is rejected. */
  close(): Promise<void>;
}

export interface FetchPoolOptions extends FetchSettings {
  /** 0 does the work in the calling thread. */
  readonly threads: number;
}

/** A transfer mostly waits: one thread serves many at a time. */
const tasksPerThread = 64;
/** A task is given to another thread when its thread dies, but not if it may be the one that kills them. */
const maximumThreadDeaths = 2;

/** Threads start when the pool is made, so that the first task does not wait for them. */
export function createFetchPool({ threads, ...settings }: FetchPoolOptions): FetchPool {
  return threads === 0 ? inlinePool(settings) : threadPool(threads, settings);
}

function inlinePool(settings: FetchSettings): FetchPool {
  const runner = createFetchRunner(settings);
  return {
    run: (task, context) => runner.run(task, context),
    async close() {
      runner.close();
    },
  };
}

function threadPool(threads: number, settings: FetchSettings): FetchPool {
  const piscina = new Piscina({
    // The suffix is .ts as long as sources run as they are, and .js once they are compiled.
    filename: new URL(
      `./fetch-thread${import.meta.url.slice(import.meta.url.lastIndexOf("."))}`,
      import.meta.url,
    ).href,
    workerData: settings,
    minThreads: threads,
    maxThreads: threads,
    concurrentTasksPerWorker: tasksPerThread,
    // A thread that waits for tasks in Atomics.wait() would not answer its connections' pings.
    atomics: "disabled",
  });
  // A thread that dies without a task; piscina starts another.
  piscina.on("error", () => {});
  const closing = new AbortController();

  async function run<T extends FetchTask>(
    task: T,
    context: FetchContext = {},
  ): Promise<FetchResults[T["kind"]]> {
    for (let deaths = 0; ; ) {
      context.signal?.throwIfAborted();
      if (closing.signal.aborted) throw closed();
      const outcome = await attempt(task, context).catch((error: Error) => error);
      if (!(outcome instanceof Error)) {
        if ("result" in outcome) return outcome.result as FetchResults[T["kind"]];
        context.signal?.throwIfAborted();
        throw new BlobError(outcome.error.code, outcome.error.message);
      }
      context.signal?.throwIfAborted();
      if (closing.signal.aborted) throw closed();
      if (++deaths >= maximumThreadDeaths) {
        throw new BlobError(Status.INTERNAL, `${task.kind}: the thread died: ${outcome.message}`, undefined, {
          cause: outcome,
        });
      }
    }
  }

  async function attempt(task: FetchTask, context: FetchContext): Promise<ThreadResult> {
    const { signal, content, chunk } = context;
    if (!signal && !content && !chunk) return piscina.run({ task } satisfies ThreadTask);
    const { port1, port2 } = new MessageChannel();
    const served = servePort(port1, context);
    try {
      const result = await piscina.run({ task, port: port2 } satisfies ThreadTask, { transferList: [port2] });
      // Chunks come another way than the result, and may come later.
      await served.end;
      return result;
    } finally {
      served.stop();
    }
  }

  return {
    run,
    async close() {
      if (closing.signal.aborted) return;
      closing.abort();
      await piscina.destroy();
    },
  };
}

function closed(): BlobError {
  return new BlobError(Status.UNAVAILABLE, "the storage client is closed");
}

/** Answers a thread's messages; `end` is when it has sent its last one. */
function servePort(
  port: MessagePort,
  { signal, content, chunk }: FetchContext,
): { readonly end: Promise<void>; stop(): void } {
  const abort = () => port.postMessage({ kind: "abort" } satisfies PoolMessage);
  signal?.addEventListener("abort", abort);
  const end = new Promise<void>((resolve) => port.once("close", resolve));
  port.on("message", (message: ThreadMessage) => {
    if (message.kind === "chunk") chunk?.(message.index, message.content, message.stored);
    else void answer(message);
  });
  async function answer({ id, offset, count }: ThreadMessage & { kind: "read" }): Promise<void> {
    try {
      // A view would take the whole buffer along.
      const copy = new Uint8Array(await content!.read(offset, count));
      port.postMessage({ kind: "content", id, content: copy } satisfies PoolMessage, [copy.buffer]);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      port.postMessage({ kind: "contentError", id, message } satisfies PoolMessage);
    }
  }
  return {
    end,
    stop() {
      signal?.removeEventListener("abort", abort);
      port.close();
    },
  };
}
