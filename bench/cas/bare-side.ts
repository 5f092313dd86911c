import { randomUUID } from "node:crypto";
import { finished } from "node:stream/promises";
import { zstdDecompressSync } from "node:zlib";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { BYTE_STREAM_CODECS } from "../../src/grpc/byte-stream-codecs.ts";
import { type Codecs, type Service, serviceDefinition } from "../../src/grpc/service-definition.ts";
import {
  type BatchReadBlobsResponse,
  Compressor_Value,
  ContentAddressableStorage,
} from "../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ByteStream } from "../../src/proto/gen/google/bytestream/bytestream_pb.ts";
import type { Side } from "./side.ts";
import type { SideSettings } from "./side-messages.ts";

const UPLOAD_PIECE_BYTES = 256 * 1024;

/**
 * The calls and nothing else: grpc-js's own client with messages by protobuf-es, a flow-control window of 1 MiB.
 * What comes is decompressed, but neither hashed nor kept.
 */
export function bareSide({ address, compression }: SideSettings): Side {
  const client = new Client(address, credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
    "grpc-node.flow_control_window": 1024 * 1024,
  });
  const method = <S extends Service>(service: S, name: string, codecs?: Codecs<S>) => {
    const { path, requestSerialize, responseDeserialize } = serviceDefinition(service, codecs)[name]!;
    return [path, requestSerialize, responseDeserialize] as const;
  };
  const batchRead = method(ContentAddressableStorage, "batchReadBlobs");
  const streamRead = method(ByteStream, "read", BYTE_STREAM_CODECS);
  const streamWrite = method(ByteStream, "write", BYTE_STREAM_CODECS);
  const acceptableCompressors = compression ? [Compressor_Value.ZSTD] : [];
  return {
    async read({ hash, sizeBytes }) {
      const { promise, resolve, reject } = Promise.withResolvers<BatchReadBlobsResponse>();
      const request = { digests: [{ hash, sizeBytes: BigInt(sizeBytes) }], acceptableCompressors };
      client.makeUnaryRequest(...batchRead, request, new Metadata(), (error, response) =>
        error ? reject(error) : resolve(response as BatchReadBlobsResponse),
      );
      const [{ data, compressor }] = (await promise).responses as [BatchReadBlobsResponse["responses"][0]];
      return compressor === Compressor_Value.ZSTD ? zstdDecompressSync(data) : data;
    },
    async stream({ hash, sizeBytes }) {
      const request = { resourceName: `blobs/${hash}/${sizeBytes}` };
      const call = client.makeServerStreamRequest(...streamRead, request, new Metadata());
      let received = 0;
      call.on("data", ({ data }: { data: Uint8Array }) => {
        received += data.length;
      });
      await finished(call);
      if (received !== sizeBytes) {
        throw new Error(`${received} of ${sizeBytes} bytes came`);
      }
    },
    async upload(content, hash) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const call = client.makeClientStreamRequest(...streamWrite, new Metadata(), (error) =>
        error ? reject(error) : resolve(),
      );
      const resourceName = `uploads/${randomUUID()}/blobs/${hash}/${content.length}`;
      for (let offset = 0; offset < content.length; offset += UPLOAD_PIECE_BYTES) {
        const data = content.subarray(offset, offset + UPLOAD_PIECE_BYTES);
        const finishWrite = offset + data.length === content.length;
        if (!call.write({ resourceName, writeOffset: BigInt(offset), finishWrite, data })) {
          await new Promise((drained) => call.once("drain", drained));
        }
      }
      call.end();
      await promise;
    },
    async close() {
      client.close();
    },
  };
}
