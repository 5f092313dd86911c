import { fromBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { KeyValueSchema } from "../../../../src/proto/gen/opentelemetry/proto/common/v1/common_pb.ts";

/** A span as it was received. */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  /** 1 internal, 2 server, 3 client. */
  readonly kind: number;
  readonly start: bigint;
  readonly end: bigint;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly error: string | undefined;
  /** Of the process. */
  readonly resource: Readonly<Record<string, unknown>>;
}

/** A collector that takes spans by OTLP over gRPC. */
export interface OtlpReceiver extends AsyncDisposable {
  readonly address: string;
  readonly spans: ReceivedSpan[];
  /** Headers of the last request. */
  headers: Readonly<Record<string, unknown>>;
  /** What it answers with: the bytes of an ExportTraceServiceResponse. */
  answer: Buffer;
}

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const server = new Server();
  const asTheyAre = (bytes: Buffer) => bytes;
  const receiver = {
    address: "",
    spans: [] as ReceivedSpan[],
    headers: {},
    answer: Buffer.alloc(0),
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
    },
  };
  server.addService(
    {
      export: {
        path: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        requestStream: false,
        responseStream: false,
        requestSerialize: asTheyAre,
        requestDeserialize: asTheyAre,
        responseSerialize: asTheyAre,
        responseDeserialize: asTheyAre,
      },
    },
    {
      export(
        call: { request: Buffer; metadata: { getMap(): Record<string, unknown> } },
        callback: (error: null, response: Buffer) => void,
      ) {
        receiver.headers = call.metadata.getMap();
        receiver.spans.push(...spansIn(call.request));
        callback(null, receiver.answer);
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  receiver.address = `127.0.0.1:${port}`;
  return receiver;
}

type Value = Uint8Array | bigint | number;
type Fields = ReadonlyMap<number, readonly Value[]>;

/** ExportTraceServiceRequest, by the field numbers of opentelemetry-proto. */
function spansIn(request: Uint8Array): ReceivedSpan[] {
  return messages(request, 1).flatMap((resourceSpans) => {
    const resource = attributesIn(messages(resourceSpans, 1)[0] ?? new Uint8Array(0), 1);
    return messages(resourceSpans, 2)
      .flatMap((scopeSpans) => messages(scopeSpans, 2))
      .map((span) => {
        const fields = fieldsOf(span);
        const bytes = (number: number) => Buffer.from((fields.get(number)?.[0] ?? []) as Uint8Array);
        const status = fields.get(15)?.[0] as Uint8Array | undefined;
        const failed = status !== undefined && fieldsOf(status).get(3)?.[0] === 2;
        return {
          traceId: bytes(1).toString("hex"),
          spanId: bytes(2).toString("hex"),
          parentSpanId: bytes(4).toString("hex"),
          name: bytes(5).toString(),
          kind: Number(fields.get(6)?.[0]),
          start: fields.get(7)?.[0] as bigint,
          end: fields.get(8)?.[0] as bigint,
          attributes: attributesIn(span, 9),
          error: failed
            ? Buffer.from((fieldsOf(status).get(2)?.[0] ?? []) as Uint8Array).toString()
            : undefined,
          resource,
        };
      });
  });
}

function messages(bytes: Uint8Array, field: number): Uint8Array[] {
  return (fieldsOf(bytes).get(field) ?? []) as Uint8Array[];
}

function attributesIn(bytes: Uint8Array, field: number): Record<string, unknown> {
  return Object.fromEntries(
    messages(bytes, field).map((each) => {
      const { key, value } = fromBinary(KeyValueSchema, each);
      const content = value?.value;
      return [
        key,
        content?.case === "arrayValue"
          ? content.value.values.map((item) => item.value.value)
          : content?.value,
      ];
    }),
  );
}

function fieldsOf(bytes: Uint8Array): Fields {
  const reader = new BinaryReader(bytes);
  const fields = new Map<number, Value[]>();
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    let value: Value;
    switch (type) {
      case 0:
        value = reader.uint32();
        break;
      case 1:
        value = BigInt(reader.fixed64());
        break;
      case 2:
        value = reader.bytes();
        break;
      default:
        value = reader.fixed32();
    }
    fields.set(number, [...(fields.get(number) ?? []), value]);
  }
  return fields;
}
