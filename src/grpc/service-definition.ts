import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { GenService, GenServiceMethods } from "@bufbuild/protobuf/codegenv2";
import type { MethodDefinition } from "@grpc/grpc-js";

/** A service of the generated code, such as `ByteStream` of bytestream_pb.ts. */
export type Service = GenService<GenServiceMethods>;

/** Turns messages of one type into bytes and back. An error that it throws fails the call with INTERNAL. */
export interface Codec<D extends DescMessage> {
  serialize(message: MessageInitShape<D>): Buffer;
  deserialize(bytes: Buffer): MessageShape<D>;
}

/** Codecs, by method, for messages that protobuf-es is not to encode and decode itself. */
export type Codecs<S extends Service> = {
  readonly [K in keyof S["method"]]?: {
    readonly request?: Codec<S["method"][K]["input"]>;
    readonly response?: Codec<S["method"][K]["output"]>;
  };
};

/** A method as grpc-js describes it. */
export type Definition = MethodDefinition<unknown, unknown>;

/** The service's methods as grpc-js describes them, by name. */
export function serviceDefinition<S extends Service>(
  service: S,
  codecs: Codecs<S> = {},
): Record<string, Definition> {
  return Object.fromEntries(
    Object.entries<DescMethod>(service.method).map(([name, method]) => {
      const { request = codec(method.input), response = codec(method.output) } = codecs[name] ?? {};
      const definition: Definition = {
        path: `/${service.typeName}/${method.name}`,
        requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
        responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
        requestSerialize: request.serialize as Definition["requestSerialize"],
        requestDeserialize: request.deserialize,
        responseSerialize: response.serialize as Definition["responseSerialize"],
        responseDeserialize: response.deserialize,
      };
      return [name, definition];
    }),
  );
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
