import type {
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  Metadata,
  ServerReadableStream,
  ServerWritableStream,
} from "@grpc/grpc-js";
import { StatusError, status, statusFromError } from "../grpc/status.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import { BlobError } from "../reapi/blob-error.ts";
import { InvalidDigestError } from "../reapi/digest.ts";

/** A call as a handler sees it: who asks, and whether they still wait. */
export interface CallContext {
  readonly metadata: Metadata;
  /** Aborted when the client cancels or goes away. */
  readonly signal: AbortSignal;
}

/** Answers a unary call by a promise. What it rejects with becomes the call's status. */
export function unary<Request, Response>(
  handle: (request: Request, context: CallContext) => Response | Promise<Response>,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    const context = contextOf(call);
    answer(() => handle(call.request, context)).then(
      (response) => callback(null, response),
      (error: unknown) => callback(toStatusError(error)),
    );
  };
}

/**
 * Answers a call by a stream of responses, each sent when the client has room for it. The iteration is left early
 * when the client goes away.
 */
export function serverStreaming<Request, Response>(
  handle: (request: Request, context: CallContext) => AsyncIterable<Response>,
): handleServerStreamingCall<Request, Response> {
  return (call) => {
    const context = contextOf(call);
    sendAll(call, () => handle(call.request, context)).then(
      () => call.end(),
      (error: unknown) => {
        if (!call.cancelled) {
          call.emit("error", toStatusError(error));
        }
      },
    );
  };
}

/** Answers a stream of requests. Reading the requests throws when the client goes away. */
export function clientStreaming<Request, Response>(
  handle: (requests: AsyncIterable<Request>, context: CallContext) => Promise<Response>,
): handleClientStreamingCall<Request, Response> {
  return (call, callback) => {
    const context = contextOf(call);
    answer(() => handle(readAll(call), context)).then(
      (response) => {
        callback(null, response);
        // A client whose blob was known already still sends; unread, its data would block the connection.
        call.resume();
      },
      (error: unknown) => callback(toStatusError(error)),
    );
  };
}

/** The error that gives a call its status: digests and blobs have errors of their own, below gRPC. */
export function toStatusError(error: unknown): StatusError {
  if (error instanceof StatusError) {
    return error;
  }
  if (error instanceof InvalidDigestError) {
    return new StatusError(status(Code.INVALID_ARGUMENT, error.message), { cause: error });
  }
  if (error instanceof BlobError) {
    return new StatusError(status(error.code as Code, error.message), { cause: error });
  }
  return new StatusError(statusFromError(error), { cause: error });
}

/** Shorthand for a failure with a status and nothing else. */
export function failure(code: Code, message: string): StatusError {
  return new StatusError(status(code, message));
}

function contextOf(call: {
  metadata: Metadata;
  on(event: "cancelled", listener: () => void): unknown;
}): CallContext {
  const controller = new AbortController();
  call.on("cancelled", () => controller.abort(failure(Code.CANCELLED, "the client cancelled the call")));
  return { metadata: call.metadata, signal: controller.signal };
}

async function answer<T>(handle: () => T | Promise<T>): Promise<T> {
  return handle();
}

async function* readAll<T>(call: ServerReadableStream<T, unknown>): AsyncIterable<T> {
  // Breaking out of a plain iteration would destroy the call before it is answered.
  yield* call.iterator({ destroyOnReturn: false }) as AsyncIterable<T>;
}

async function sendAll<T>(
  call: ServerWritableStream<unknown, T>,
  responses: () => AsyncIterable<T>,
): Promise<void> {
  for await (const response of responses()) {
    if (call.cancelled) {
      return;
    }
    if (!call.write(response)) {
      await roomOrEnd(call);
    }
    if (call.cancelled) {
      return;
    }
  }
}

function roomOrEnd(call: ServerWritableStream<unknown, unknown>): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off("drain", done);
      call.off("cancelled", done);
      resolve();
    };
    call.on("drain", done);
    call.on("cancelled", done);
  });
}
