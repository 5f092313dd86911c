import type { MessagePort, Transferable } from "node:worker_threads";
import { move, transferableSymbol, valueSymbol, workerData } from "piscina";
import type { RandomAccess } from "./byte-stream.ts";
import {
  createFetchRunner,
  type FetchContext,
  type FetchResults,
  type FetchSettings,
  type FetchTask,
} from "./fetch-tasks.ts";
import { asBlobError } from "./retry.ts";

/**
 * A task as it is sent to a thread: with a port, if there is anything to say while it runs. `T` is what the pool
 * gets back.
 */
export interface ThreadTask {
  readonly task: FetchTask;
  readonly port?: MessagePort;
}

export type ThreadResult =
  | { readonly result: FetchResults[FetchTask["kind"]] }
  | { readonly error: { readonly code: number; readonly message: string } };

/** From the thread. */
export type ThreadMessage =
  | { readonly kind: "read"; readonly id: number; readonly offset: number; readonly count: number }
  | {
      readonly kind: "chunk";
      readonly index: number;
      readonly content: Uint8Array<ArrayBuffer>;
      readonly stored: boolean;
    };

/** To the thread. */
export type PoolMessage =
  | { readonly kind: "abort" }
  | { readonly kind: "content"; readonly id: number; readonly content: Uint8Array }
  | { readonly kind: "contentError"; readonly id: number; readonly message: string };

const runner = createFetchRunner(workerData as FetchSettings);

/** What piscina calls in its threads. */
export default async function runInThread({ task, port }: ThreadTask): Promise<unknown> {
  try {
    const result = await runner.run(task, port && portContext(port));
    return move(new Transfer({ result }, contents(task.kind, result)) as never);
  } catch (error) {
    const { code, message } = asBlobError(error, task.kind);
    return { error: { code, message } };
  } finally {
    port?.close();
  }
}

/** A result with the buffers that go over to the pool without being copied. */
class Transfer {
  readonly [valueSymbol]: ThreadResult;
  readonly [transferableSymbol]: readonly Transferable[];

  constructor(value: ThreadResult, buffers: readonly Transferable[]) {
    this[valueSymbol] = value;
    this[transferableSymbol] = buffers;
  }
}

function contents(kind: FetchTask["kind"], result: FetchResults[FetchTask["kind"]]): Transferable[] {
  if (kind !== "fetchBatch" && kind !== "fetchWhole") return [];
  const fetched = [result as FetchResults["fetchBatch"] | FetchResults["fetchWhole"]].flat();
  return fetched.flatMap((each) => ("content" in each ? [each.content.buffer] : []));
}

function portContext(port: MessagePort): Required<FetchContext> {
  const controller = new AbortController();
  const reads = new Map<number, { resolve(content: Uint8Array): void; reject(error: Error): void }>();
  let lastId = 0;
  port.on("message", (message: PoolMessage) => {
    if (message.kind === "abort") {
      controller.abort();
      for (const { reject } of reads.values()) reject(new Error("aborted"));
    } else {
      const read = reads.get(message.id);
      reads.delete(message.id);
      if (message.kind === "content") read?.resolve(message.content);
      else read?.reject(new Error(message.message));
    }
  });
  const content: RandomAccess = {
    read(offset, count) {
      const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
      const id = ++lastId;
      reads.set(id, { resolve, reject });
      port.postMessage({ kind: "read", id, offset, count } satisfies ThreadMessage);
      return promise;
    },
  };
  return {
    signal: controller.signal,
    content,
    chunk(index, content, stored) {
      port.postMessage({ kind: "chunk", index, content, stored } satisfies ThreadMessage, [content.buffer]);
    },
  };
}
