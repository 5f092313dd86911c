import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { GenService, GenServiceMethods } from "@bufbuild/protobuf/codegenv2";
import type {
  Channel,
  ClientWritableStream,
  Deadline,
  handleBidiStreamingCall,
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  MethodDefinition,
  Server,
  ServiceDefinition,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { credentials, Client as GrpcClient, Metadata } from "@grpc/grpc-js";

/** A service of the generated code, such as `ByteStream` of bytestream_pb.ts. */
type Service = GenService<GenServiceMethods>;

/** How messages of one type become bytes and are made of them. A thrown error fails the call with INTERNAL. */
export interface Codec<D extends DescMessage> {
  serialize(message: MessageInitShape<D>): Buffer;
  deserialize(bytes: Buffer): MessageShape<D>;
}

/** Codecs by method for the messages that protobuf-es shall not encode and decode itself. */
export type Codecs<S extends Service> = {
  readonly [K in keyof S["method"]]?: {
    readonly request?: Codec<S["method"][K]["input"]>;
    readonly response?: Codec<S["method"][K]["output"]>;
  };
};

/**
 * The grpc-js handlers of a service, by method. A method without a handler fails with UNIMPLEMENTED. grpc-js ignores
 * what a handler returns, so an async one must catch everything. A bidirectional call is best read by its "data" and
 * "end" events: leaving `for await (… of call)` early, or emitting "error" in it, destroys the call unanswered.
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

export interface CallOptions {
  /** Cancels the call, which then fails with CANCELLED. */
  readonly signal?: AbortSignal | undefined;
  /** A Date or milliseconds since the epoch, after which the call fails with DEADLINE_EXCEEDED. */
  readonly deadline?: Deadline | undefined;
  readonly metadata?: Metadata | undefined;
}

/**
 * A client's methods. All fail with grpc-js's ServiceError, whose `code` is the gRPC status. A call that returns
 * an AsyncIterable begins when that is iterated and is cancelled when the loop is left early. A call that takes
 * one reads it no faster than the server accepts; if reading it throws, the call is cancelled and fails with what
 * was thrown; if the server ends the call first, the iterable is left at its next item.
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

/** The service as grpc-js describes it, for `server.addService`. Prefer `addService`, which checks types. */
export function serviceDefinition<S extends Service>(
  service: S,
  codecs: Codecs<S> = {},
): ServiceDefinition<UntypedServiceImplementation> {
  const entries = Object.entries<DescMethod>(service.method);
  return Object.fromEntries(
    entries.map(([name, method]) => [name, methodDefinition(service, name, method, codecs)]),
  );
}

/** Lets a server answer a service's calls. Responses may be given as plain objects. */
export function addService<S extends Service>(
  server: Server,
  service: S,
  handlers: Handlers<S>,
  codecs?: Codecs<S>,
): void {
  server.addService(serviceDefinition(service, codecs), handlers as UntypedServiceImplementation);
}

/**
 * A client of a service over a grpc-js Channel (`new Channel(address, credentials, options)`). Clients of several
 * services can share a channel; whoever made it closes it.
 */
export function createClient<S extends Service>(
  service: S,
  channel: Channel,
  codecs: Codecs<S> = {},
): Client<S> {
  // With a channel given, grpc-js uses neither the address nor the credentials.
  const client = new GrpcClient("", credentials.createInsecure(), { channelOverride: channel });
  const entries = Object.entries<DescMethod>(service.method);
  return Object.fromEntries(
    entries.map(([name, method]) => [
      name,
      CLIENT_METHODS[method.methodKind](client, methodDefinition(service, name, method, codecs)),
    ]),
  ) as Client<S>;
}

type Definition = MethodDefinition<unknown, unknown>;

function methodDefinition<S extends Service>(
  service: S,
  name: string,
  method: DescMethod,
  codecs: Codecs<S>,
): Definition {
  const { request = codec(method.input), response = codec(method.output) } = codecs[name] ?? {};
  return {
    path: `/${service.typeName}/${method.name}`,
    requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
    responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
    requestSerialize: request.serialize as Definition["requestSerialize"],
    requestDeserialize: request.deserialize,
    responseSerialize: response.serialize as Definition["responseSerialize"],
    responseDeserialize: response.deserialize,
  };
}

function codec<D extends DescMessage>(desc: D): Codec<D> {
  return {
    serialize(message) {
      const bytes = toBinary(desc, create(desc, message));
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
    deserialize: (bytes) => fromBinary(desc, bytes),
  };
}

const CLIENT_METHODS = {
  unary:
    (client: GrpcClient, { path, requestSerialize, responseDeserialize }: Definition) =>
    (request: unknown, options: CallOptions = {}) => {
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      const call = client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        options.metadata ?? new Metadata(),
        { deadline: options.deadline ?? Infinity },
        (error, response) => (error ? reject(error) : resolve(response)),
      );
      return promise.finally(cancelOnAbort(call, options.signal));
    },

  client_streaming:
    (client: GrpcClient, { path, requestSerialize, responseDeserialize }: Definition) =>
    async (requests: Items<unknown>, options: CallOptions = {}) => {
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      const call = client.makeClientStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        options.metadata ?? new Metadata(),
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
    },

  server_streaming: (client: GrpcClient, { path, requestSerialize, responseDeserialize }: Definition) =>
    async function* (request: unknown, options: CallOptions = {}) {
      const call = client.makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        options.metadata ?? new Metadata(),
        { deadline: options.deadline ?? Infinity },
      );
      call.on("error", ignore);
      const release = cancelOnAbort(call, options.signal);
      try {
        yield* call;
      } finally {
        call.cancel();
        release();
      }
    },

  bidi_streaming: (client: GrpcClient, { path, requestSerialize, responseDeserialize }: Definition) =>
    async function* (requests: Items<unknown>, options: CallOptions = {}) {
      const call = client.makeBidiStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        options.metadata ?? new Metadata(),
        { deadline: options.deadline ?? Infinity },
      );
      call.on("error", ignore);
      const release = cancelOnAbort(call, options.signal);
      const ended = new AbortController();
      let sourceFailure: { error: unknown } | undefined;
      sendAll(requests, call, ended.signal).catch((error: unknown) => {
        sourceFailure = { error };
        call.cancel();
      });
      try {
        yield* call;
      } catch (error) {
        throw sourceFailure ? sourceFailure.error : error;
      } finally {
        call.cancel();
        ended.abort();
        release();
      }
    },
};

/** grpc-js emits a call's failure even after iteration is over; unheard, that would end the process. */
function ignore(): void {}

/** Cancels the call when the signal aborts, until the returned function is called. */
function cancelOnAbort(call: { cancel(): void }, signal: AbortSignal | undefined): () => void {
  const cancel = () => call.cancel();
  if (signal?.aborted) {
    cancel();
  }
  signal?.addEventListener("abort", cancel);
  return () => signal?.removeEventListener("abort", cancel);
}

/** Writes items as the call accepts them, then ends it. Throws only what reading the items throws. */
async function sendAll<T>(items: Items<T>, call: ClientWritableStream<T>, ended: AbortSignal): Promise<void> {
  for await (const item of items) {
    if (ended.aborted || call.destroyed) {
      return;
    }
    if (!call.write(item)) {
      await drained(call, ended);
    }
  }
  call.end();
}

/** Waits until the stream takes more, or has ended. */
function drained<T>(call: ClientWritableStream<T>, ended: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off("drain", done);
      ended.removeEventListener("abort", done);
      resolve();
    };
    call.on("drain", done);
    ended.addEventListener("abort", done);
  });
}
