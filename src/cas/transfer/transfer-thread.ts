import { type MessagePort, parentPort, type Transferable } from "node:worker_threads";
import { move, transferableSymbol, valueSymbol, workerData } from "piscina";
import { registerKubernetesResolvers } from "../../grpc/kubernetes/resolver.ts";
import { asBlobError } from "../../reapi/blob-error.ts";
import { portableError } from "./portable.ts";
import { createTaskRunner } from "./task-runner.ts";
import type { PoolMessage, ThreadMessage, ThreadResult, ThreadTask } from "./thread-messages.ts";
import type { Fetched, TransferContext, TransferSettings } from "./transfer-task.ts";
import type { RandomAccess } from "./upload-source.ts";

const SETTINGS = workerData as TransferSettings;
registerKubernetesResolvers(SETTINGS.kubernetesResolvers ?? []);
const RUNNER = createTaskRunner(SETTINGS);

/** Runs a task: what piscina calls in the transfer pool's threads. What was fetched is moved, not copied. */
export default async function runInThread({ call, task, port }: ThreadTask): Promise<ThreadResult> {
  let messages = 0;
  const send = (message: ThreadMessage, transfer: readonly Transferable[] = []) => {
    messages++;
    parentPort!.postMessage(message, transfer);
  };
  try {
    const result = await RUNNER.run(task, {
      ...(port && callerContext(call, port, send)),
      chunk(index, frame) {
        send({ call, kind: "chunk", index, frame }, [frame.buffer]);
      },
    });
    return task.kind === "fetchBlobs"
      ? moved({ result, messages }, result as readonly Fetched[])
      : { result, messages };
  } catch (error) {
    return { error: portableError(asBlobError(error, task.kind)) };
  } finally {
    port?.close();
  }
}

function moved(result: ThreadResult, fetched: readonly Fetched[]): ThreadResult {
  const frames = fetched.filter((each) => each instanceof Uint8Array);
  return move({
    [transferableSymbol]: [...new Set(frames.map(({ buffer }) => buffer))],
    [valueSymbol]: result,
  }) as unknown as ThreadResult;
}

/** The caller's signal and source, through the port. */
function callerContext(
  call: number,
  port: MessagePort,
  send: (message: ThreadMessage) => void,
): Pick<TransferContext, "signal" | "source"> {
  const controller = new AbortController();
  const reads = new Map<number, { resolve(bytes: Uint8Array): void; reject(error: Error): void }>();
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
      if (message.kind === "bytes") {
        read?.resolve(message.bytes);
      } else {
        read?.reject(new Error(message.message));
      }
    }
  });
  const source: RandomAccess = {
    read(offset, count) {
      const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
      const id = ++lastId;
      reads.set(id, { resolve, reject });
      send({ call, kind: "read", id, offset, count });
      return promise;
    },
  };
  return { signal: controller.signal, source };
}
