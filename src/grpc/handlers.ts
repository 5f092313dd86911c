import type { DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type {
  handleBidiStreamingCall,
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  Metadata,
  Server,
  ServerReadableStream,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import { authenticationOf, type IncomingCall } from "./incoming-call.ts";
import { sendAll } from "./send-all.ts";
import { type Codecs, type Service, serviceDefinition } from "./service-definition.ts";
import { failure, toStatusError } from "./status.ts";

/**
 * The handlers of a service, by method: made with {@link unary}, {@link serverStreaming} and
 * {@link clientStreaming}, or grpc-js's own. A method without a handler fails with UNIMPLEMENTED.
 *
 * grpc-js ignores what its own handlers return, so an async one must catch everything. A bidirectional call is
 * best read by its "data" and "end" events: leaving `for await (… of call)` early, or emitting "error" in it,
 * destroys the call unanswered.
 */
export type Handlers<S extends Service> = {
  [K in keyof S["method"]]?: Handler<S["method"][K]>;
};

type Handler<M extends DescMethod> = {
  unary: handleUnaryCall<MessageShape<M["input"]>, MessageInitShape<M["output"]>>;
  client_streaming: handleClientStreamingCall<MessageShape<M["input"]>, MessageInitShape<M["output"]>>;
  server_streaming: handleServerStreamingCall<MessageShape<M["input"]>, MessageInitShape<M["output"]>>;
  bidi_streaming: handleBidiStreamingCall<MessageShape<M["input"]>, MessageInitShape<M["output"]>>;
}[M["methodKind"]];

/** Lets a server answer a service's calls. Responses may be given as plain objects. */
export function addService<S extends Service>(
  server: Server,
  service: S,
  handlers: Handlers<S>,
  codecs?: Codecs<S>,
): void {
  server.addService(serviceDefinition(service, codecs), handlers as UntypedServiceImplementation);
}

/** What a handler knows of its call beside the request. */
export interface CallContext extends IncomingCall {
  /** "/PACKAGE.SERVICE/METHOD". */
  readonly path: string;
  /** Aborts with CANCELLED when the client cancels or goes away. */
  readonly signal: AbortSignal;
}

/** Answers a unary call by a promise. What it rejects with becomes the call's status, by `statusFromError`. */
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
    answer(() => sendAll(handle(call.request, context), call, context.signal)).catch((error: unknown) => {
      if (!call.cancelled) {
        call.emit("error", toStatusError(error));
      }
    });
  };
}

/** Answers a stream of requests by a promise. Reading the requests throws when the client goes away. */
export function clientStreaming<Request, Response>(
  handle: (requests: AsyncIterable<Request>, context: CallContext) => Promise<Response>,
): handleClientStreamingCall<Request, Response> {
  return (call, callback) => {
    const context = contextOf(call);
    answer(() => handle(readAll(call), context)).then(
      (response) => {
        callback(null, response);
        // A client that got its answer early still sends; unread, its data would block the connection.
        call.resume();
      },
      (error: unknown) => callback(toStatusError(error)),
    );
  };
}

function contextOf(call: {
  readonly metadata: Metadata;
  readonly cancelled: boolean;
  getPath(): string;
  on(event: "cancelled", listener: () => void): unknown;
}): CallContext {
  const controller = new AbortController();
  const abort = () => controller.abort(failure(Code.CANCELLED, "the client cancelled the call"));
  call.on("cancelled", abort);
  if (call.cancelled) {
    abort();
  }
  return {
    path: call.getPath(),
    metadata: call.metadata,
    authentication: authenticationOf(call.metadata),
    signal: controller.signal,
  };
}

/** Turns what a handler throws before it returns into a rejection. */
async function answer<T>(handle: () => T | Promise<T>): Promise<T> {
  return handle();
}

async function* readAll<T>(call: ServerReadableStream<T, unknown>): AsyncIterable<T> {
  // Breaking out of a plain iteration would destroy the call before it is answered.
  yield* call.iterator({ destroyOnReturn: false }) as AsyncIterable<T>;
}
