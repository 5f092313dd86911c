import { credentials, Client as GrpcClient, Metadata } from "@grpc/grpc-js";
import { type GrpcEndpoint, openChannel } from "./endpoint.ts";

const EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/** Sends serialized spans to a collector that speaks OTLP over gRPC, by a channel of its own, whose calls are not traced. */
export function connectOtlp(endpoint: GrpcEndpoint): {
  send(request: Uint8Array, timeoutMilliseconds: number): Promise<Uint8Array>;
  close(): void;
} {
  const channel = openChannel(endpoint);
  const client = new GrpcClient("", credentials.createInsecure(), { channelOverride: channel });
  const asTheyAre = (bytes: Buffer): Buffer => bytes;
  return {
    send(request, timeoutMilliseconds) {
      const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
      const metadata = new Metadata({ waitForReady: true });
      for (const [name, value] of endpoint.metadata ?? []) {
        metadata.add(name, value);
      }
      client.makeUnaryRequest(
        EXPORT,
        asTheyAre,
        asTheyAre,
        Buffer.from(request.buffer, request.byteOffset, request.byteLength),
        metadata,
        { deadline: Date.now() + timeoutMilliseconds },
        (error, response) => (error ? reject(error) : resolve(response ?? new Uint8Array(0))),
      );
      return promise;
    },
    close: () => channel.close(),
  };
}
