import type { DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { Channel, Deadline, ServiceError } from "@grpc/grpc-js";
import { credentials, Client as GrpcClient, type Metadata, status } from "@grpc/grpc-js";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import type { Span } from "../telemetry/tracing/spans.ts";
import { CallHeaders } from "./call-headers.ts";
import { countingClient } from "./calls/counting.ts";
import type { CallCounts } from "./calls/counts.ts";
import { CallTracing, type TracedMethods } from "./calls/tracing.ts";
import { unaryCall } from "./calls/unary-call.ts";
import { EndpointChannel } from "./endpoint.ts";
import type { IncomingCall } from "./incoming-call.ts";
import { sendAll } from "./send-all.ts";
import { type Codecs, type Definition, type Service, serviceDefinition } from "./service-definition.ts";
import { failure } from "./status.ts";

export interface ClientOptions<S extends Service> {
  readonly codecs?: Codecs<S>;
  /** What counts the calls. */
  readonly callCounts?: CallCounts | undefined;
  /** What spans of calls show, as of an endpoint. */
  readonly tracing?: TracedMethods | undefined;
}

export interface CallOptions {
  /** Cancels the call, which then fails with CANCELLED. */
  readonly signal?: AbortSignal | undefined;
  /** A Date or milliseconds since the epoch, after which the call fails with DEADLINE_EXCEEDED. */
  readonly deadline?: Deadline | undefined;
  /** Headers of this call, beside the channel's. */
  readonly metadata?: Metadata | undefined;
  /** The call that this one is made for, where the channel's headers may depend on it. */
  readonly incoming?: IncomingCall | undefined;
  /** What a call without streams is part of: it gets a span there, which the server can continue. */
  readonly span?: Span | undefined;
}

/**
 * A client's methods. All fail with grpc-js's ServiceError, whose `code` is the gRPC status. A call that returns
 * an AsyncIterable begins when that is iterated and is cancelled when the loop is left early. A call that takes
 * one reads it no faster than the server accepts; if reading it throws, the call is cancelled and fails with what
 * was thrown; if the server ends the call first, the iterable is left, after its next item if that is waited for.
 */
export type Client<S extends Service> = {
  readonly [K in keyof S["method"]]: ClientMethod<S["method"][K]>;
};

type ClientMethod<M extends DescMethod> = {
  unary: (request: MessageInitShape<M["input"]>, options?: CallOptions) => Promise<MessageShape<M["output"]>>;
  client_streaming: (
    requests: Items<MessageInitShape<M["input"]>>,
    options?: CallOptions,
  ) => Promise<MessageShape<M["output"]>>;
  server_streaming: (
    request: MessageInitShape<M["input"]>,
    options?: CallOptions,
  ) => AsyncIterable<MessageShape<M["output"]>>;
  bidi_streaming: (
    requests: Items<MessageInitShape<M["input"]>>,
    options?: CallOptions,
  ) => AsyncIterable<MessageShape<M["output"]>>;
}[M["methodKind"]];

type Items<T> = AsyncIterable<T> | Iterable<T>;

/**
 * A client of a service over a channel, as `openChannel` makes one. Clients of several services can share a
 * channel; whoever opened it closes it.
 */
export function createClient<S extends Service>(
  service: S,
  channel: Channel,
  { codecs = {}, callCounts, tracing }: ClientOptions<S> = {},
): Client<S> {
  // With a channel given, grpc-js uses neither the address nor the credentials.
  const client = new GrpcClient("", credentials.createInsecure(), {
    channelOverride: channel,
    interceptors: callCounts ? [countingClient(callCounts)] : [],
  });
  const definitions = serviceDefinition(service, codecs);
  const headers = channel instanceof EndpointChannel ? channel.headers : NO_HEADERS;
  return Object.fromEntries(
    Object.entries<DescMethod>(service.method).map(([name, { methodKind, input, output }]) => {
      const definition = definitions[name]!;
      const callTracing = new CallTracing({ path: definition.path, input, output }, tracing);
      return [
        name,
        CLIENT_METHODS[methodKind]({
          client,
          channel,
          definition,
          headers,
          tracing: callTracing,
          callCounts,
        }),
      ];
    }),
  ) as Client<S>;
}

const NO_HEADERS = new CallHeaders({});

interface Callee {
  readonly client: GrpcClient;
  readonly channel: Channel;
  readonly definition: Definition;
  readonly headers: CallHeaders;
  readonly tracing: CallTracing;
  readonly callCounts: CallCounts | undefined;
}

const CLIENT_METHODS = {
  unary: (callee: Callee) => {
    const { path, requestSerialize, responseDeserialize } = callee.definition;
    const { tracing } = callee;
    return async (request: unknown, options: CallOptions = {}) => {
      const metadata = await headersOf(callee, options);
      const span = options.span?.child(tracing.name, { kind: "client", attributes: tracing.attributes });
      if (span !== undefined) {
        tracing.request(span, request);
        for (const [name, value] of Object.entries(span.context ?? {})) {
          metadata.set(name, value);
        }
      }
      try {
        const bytes = coded("the request cannot be encoded", () => requestSerialize(request));
        const answer = await unaryCall(callee.channel, path, bytes, metadata, {
          deadline: options.deadline ?? Infinity,
          signal: options.signal,
          counted: callee.callCounts?.start(path),
        });
        const response = coded("the response cannot be decoded", () => responseDeserialize(answer));
        if (span !== undefined) {
          tracing.response(span, response);
          tracing.ended(span, status.OK, "");
        }
        callee.headers.succeeded(options.incoming);
        return response;
      } catch (error) {
        const { code = status.UNKNOWN, details = "" } = error as Partial<ServiceError>;
        if (span !== undefined) {
          tracing.ended(span, code, details);
        }
        throw error;
      }
    };
  },

  client_streaming: (callee: Callee) => {
    const { path, requestSerialize, responseDeserialize } = callee.definition;
    return async (requests: Items<unknown>, options: CallOptions = {}) => {
      const metadata = await headersOf(callee, options);
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      const call = callee.client.makeClientStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        metadata,
        { deadline: options.deadline ?? Infinity },
        (error, response) => (error ? reject(error) : resolve(response)),
      );
      const release = cancelOnAbort(call, options.signal);
      const ended = new AbortController();
      const sent = sendAll(requests, call, ended.signal);
      try {
        return await Promise.race([promise, sent.then(() => promise)]);
      } finally {
        call.cancel();
        ended.abort();
        release();
      }
    };
  },

  server_streaming: (callee: Callee) => {
    const { path, requestSerialize, responseDeserialize } = callee.definition;
    return async function* (request: unknown, options: CallOptions = {}) {
      const metadata = await headersOf(callee, options);
      const call = callee.client.makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata,
        { deadline: options.deadline ?? Infinity },
      );
      yield* responses(call, options.signal);
    };
  },

  bidi_streaming: (callee: Callee) => {
    const { path, requestSerialize, responseDeserialize } = callee.definition;
    return async function* (requests: Items<unknown>, options: CallOptions = {}) {
      const metadata = await headersOf(callee, options);
      const call = callee.client.makeBidiStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        metadata,
        { deadline: options.deadline ?? Infinity },
      );
      const ended = new AbortController();
      let sourceFailure: { error: unknown } | undefined;
      sendAll(requests, call, ended.signal).catch((error: unknown) => {
        sourceFailure = { error };
        call.cancel();
      });
      try {
        yield* responses(call, options.signal);
      } catch (error) {
        throw sourceFailure ? sourceFailure.error : error;
      } finally {
        ended.abort();
      }
    };
  },
};

/** What the codec returns; fails as a call does if that throws. */
function coded<T>(what: string, codec: () => T): T {
  try {
    return codec();
  } catch (error) {
    throw failure(Code.INTERNAL, `${what}: ${(error as Error).message}`, { cause: error });
  }
}

/** setTimeout's limit, which is longer than a token takes. */
const LONGEST_TIMER_MILLISECONDS = 2 ** 31 - 1;

/** The call's headers; its deadline and signal bound how long they may take. */
async function headersOf({ headers }: Callee, options: CallOptions): Promise<Metadata> {
  const metadata = headers.of(options.metadata, options.incoming);
  return metadata instanceof Promise ? inTime(metadata, options) : metadata;
}

async function inTime(headers: Promise<Metadata>, { deadline, signal }: CallOptions): Promise<Metadata> {
  const { promise, reject } = Promise.withResolvers<never>();
  const late = () => reject(failure(Code.DEADLINE_EXCEEDED, "the deadline passed while waiting for a token"));
  const milliseconds = Number(deadline ?? Number.POSITIVE_INFINITY) - Date.now();
  const timer = setTimeout(late, Math.min(milliseconds, LONGEST_TIMER_MILLISECONDS));
  const abort = () => reject(failure(Code.CANCELLED, "the call was cancelled while waiting for a token"));
  signal?.addEventListener("abort", abort);
  try {
    if (signal?.aborted) {
      abort();
    }
    return await Promise.race([headers, promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

interface Incoming extends AsyncIterable<unknown> {
  cancel(): void;
  on(event: "error", listener: () => void): unknown;
}

async function* responses(call: Incoming, signal: AbortSignal | undefined): AsyncGenerator<unknown> {
  // grpc-js emits a call's failure even after iteration is over; unheard, that would end the process.
  call.on("error", () => {});
  const release = cancelOnAbort(call, signal);
  try {
    yield* call;
  } finally {
    call.cancel();
    release();
  }
}

/** Cancels the call when the signal aborts, until the returned function is called. */
function cancelOnAbort(call: { cancel(): void }, signal: AbortSignal | undefined): () => void {
  const cancel = () => call.cancel();
  if (signal?.aborted) {
    cancel();
  }
  signal?.addEventListener("abort", cancel);
  return () => signal?.removeEventListener("abort", cancel);
}
