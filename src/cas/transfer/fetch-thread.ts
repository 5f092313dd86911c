import { type MessagePort, parentPort, type Transferable } from "node:worker_threads";
import { workerData } from "piscina";
import type { RandomAccess } from "./byte-stream.ts";
import {
  createFetchRunner,
  type FetchContext,
  type Fetched,
  type FetchResults,
  type FetchSettings,
  type FetchTask,
} from "./fetch-tasks.ts";
import { asBlobError } from "./retry.ts";

/** A task as it is sent to a thread. */
export interface ThreadTask {
  /** Tells the messages of one task from others'. */
  readonly call: number;
  readonly task: FetchTask;
  /** For {@link PoolMessage}s, if there will be any. */
  readonly port?: MessagePort;
}

export type ThreadResult =
  | {
      readonly result: FetchResults[FetchTask["kind"]];
      /** How many {@link ThreadMessage}s belong to the result; they come another way, and may come later. */
      readonly messages: number;
    }
  | { readonly error: { readonly code: number; readonly message: string } };

/** From the thread, while the task runs. */
export type ThreadMessage = { readonly call: number } & (
  | { readonly kind: "read"; readonly id: number; readonly offset: number; readonly count: number }
  | { readonly kind: "blobs"; readonly blobs: readonly Fetched[] }
  | {
      readonly kind: "chunk";
      readonly index: number;
      readonly content: Uint8Array<ArrayBuffer>;
      readonly stored: boolean;
    }
);

/** To the thread. */
export type PoolMessage =
  | { readonly kind: "abort" }
  | { readonly kind: "content"; readonly id: number; readonly content: Uint8Array }
  | { readonly kind: "contentError"; readonly id: number; readonly message: string };

const RUNNER = createFetchRunner(workerData as FetchSettings);

/** What piscina calls in its threads. */
export default async function runInThread({ call, task, port }: ThreadTask): Promise<ThreadResult> {
  let messages = 0;
  const send = (message: ThreadMessage, transfer: readonly Transferable[] = []) => {
    messages++;
    parentPort!.postMessage(message, transfer);
  };
  try {
    const result = await RUNNER.run(task, {
      ...(port && callerContext(call, port, send)),
      blobs(blobs) {
        const buffers = blobs.flatMap((blob) => (blob instanceof Uint8Array ? [blob.buffer] : []));
        send({ call, kind: "blobs", blobs }, buffers);
      },
      chunk(index, content, stored) {
        send({ call, kind: "chunk", index, content, stored }, [content.buffer]);
      },
    });
    return { result, messages };
  } catch (error) {
    const { code, message } = asBlobError(error, task.kind);
    return { error: { code, message } };
  } finally {
    port?.close();
  }
}

/** The caller's signal and content, by way of the port. */
function callerContext(
  call: number,
  port: MessagePort,
  send: (message: ThreadMessage) => void,
): Pick<FetchContext, "signal" | "content"> {
  const controller = new AbortController();
  const reads = new Map<number, { resolve(content: Uint8Array): void; reject(error: Error): void }>();
  let lastId = 0;
  port.on("message", (message: PoolMessage) => {
    if (message.kind === "abort") {
      controller.abort();
      for (const { reject } of reads.values()) {
        reject(new Error("aborted"));
      }
    } else {
      const read = reads.get(message.id);
      reads.delete(message.id);
      if (message.kind === "content") {
        read?.resolve(message.content);
      } else {
        read?.reject(new Error(message.message));
      }
    }
  });
  const content: RandomAccess = {
    read(offset, count) {
      const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
      const id = ++lastId;
      reads.set(id, { resolve, reject });
      send({ call, kind: "read", id, offset, count });
      return promise;
    },
  };
  return { signal: controller.signal, content };
}
