import type { MessagePort } from "node:worker_threads";
import type { PortableError } from "./portable.ts";
import type { TransferResults, TransferTask } from "./transfer-task.ts";

/** A task as it is sent to a thread. */
export interface ThreadTask {
  /** Tells the messages of this task from those of others. */
  readonly call: number;
  readonly task: TransferTask;
  /** For {@link PoolMessage}s, if there will be any. */
  readonly port?: MessagePort;
}

export type ThreadResult =
  | {
      readonly result: TransferResults[TransferTask["kind"]];
      /** How many {@link ThreadMessage}s belong to the result: they come another way, perhaps later. */
      readonly messages: number;
    }
  | { readonly error: PortableError };

/** From the thread, while the task runs; `read` asks for bytes of the source. */
export type ThreadMessage = { readonly call: number } & (
  | { readonly kind: "read"; readonly id: number; readonly offset: number; readonly count: number }
  | { readonly kind: "chunk"; readonly index: number; readonly frame: Uint8Array<ArrayBuffer> }
);

/** To the thread: that the caller has aborted, or the answer to a `read`. */
export type PoolMessage =
  | { readonly kind: "abort" }
  | { readonly kind: "bytes"; readonly id: number; readonly bytes: Uint8Array }
  | { readonly kind: "readError"; readonly id: number; readonly message: string };
