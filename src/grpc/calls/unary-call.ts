import type {
  Channel,
  Deadline,
  InterceptingListener,
  Metadata,
  ServiceError,
  StatusObject,
} from "@grpc/grpc-js";
import { status } from "@grpc/grpc-js";
import type { CountedCall } from "./counts.ts";

export interface UnaryCallOptions {
  readonly deadline: Deadline;
  /** Cancels the call, which then fails with CANCELLED. */
  readonly signal?: AbortSignal | undefined;
  readonly counted?: CountedCall | undefined;
}

/**
 * A call with one message each way, made straight on the channel, without the interceptors, event emitters and stack
 * trace that grpc-js's own client makes for each. Resolves to the answer as it came. Rejects as grpc-js does.
 */
export function unaryCall(
  channel: Channel,
  path: string,
  request: Buffer,
  metadata: Metadata,
  { deadline, signal, counted }: UnaryCallOptions,
): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  let response: Buffer | undefined;
  const call = channel.createCall(path, deadline, null, null, null);
  const cancel = () => call.cancelWithStatus(status.CANCELLED, "Cancelled on client");
  const listener: InterceptingListener = {
    onReceiveMetadata() {},
    onReceiveMessage(message: Buffer) {
      counted?.received();
      if (response !== undefined) {
        call.cancelWithStatus(status.UNIMPLEMENTED, "Too many responses received");
      }
      response = message;
    },
    onReceiveStatus(ending) {
      signal?.removeEventListener("abort", cancel);
      counted?.ended(ending.code);
      if (ending.code !== status.OK) {
        reject(serviceError(ending));
      } else if (response === undefined) {
        reject(serviceError({ ...ending, code: status.UNIMPLEMENTED, details: "No response received" }));
      } else {
        resolve(response);
      }
    },
  };
  call.start(metadata, listener);
  call.startRead();
  counted?.sent();
  call.sendMessageWithContext({}, request);
  call.halfClose();
  if (signal?.aborted) {
    cancel();
  }
  signal?.addEventListener("abort", cancel);
  return promise;
}

function serviceError({ code, details, metadata }: StatusObject): ServiceError {
  return Object.assign(new Error(`${code} ${status[code]}: ${details}`), { code, details, metadata });
}
