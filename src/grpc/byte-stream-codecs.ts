import { create } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { ByteStream } from "../proto/gen/google/bytestream/bytestream_pb.ts";
import { ReadResponseSchema, WriteRequestSchema } from "../proto/gen/google/bytestream/bytestream_pb.ts";
import type { Codec, Codecs } from "./service-definition.ts";

const DATA_FIELD = 10;
const NO_DATA = new Uint8Array(0);

/**
 * Codecs for the messages that carry blobs. Encoding copies the data once, into the message. Decoding does not
 * copy it: `data` is a view of the received message, which it keeps in memory. Malformed bytes throw, and so fail
 * the call.
 */
export const BYTE_STREAM_CODECS = {
  read: { response: readResponseCodec() },
  write: { request: writeRequestCodec() },
} satisfies Codecs<typeof ByteStream>;

function readResponseCodec(): Codec<typeof ReadResponseSchema> {
  return {
    serialize: (message) => withData(new BinaryWriter(), message.data),
    deserialize(bytes) {
      const message = create(ReadResponseSchema);
      const reader = new BinaryReader(bytes);
      while (reader.pos < reader.len) {
        const [field, wireType] = reader.tag();
        if (field === DATA_FIELD && wireType === WireType.LengthDelimited) {
          message.data = reader.bytes();
        } else {
          reader.skip(wireType, field);
        }
      }
      return message;
    },
  };
}

function writeRequestCodec(): Codec<typeof WriteRequestSchema> {
  return {
    serialize({ resourceName, writeOffset, finishWrite, data }) {
      const head = new BinaryWriter();
      if (resourceName) {
        head.tag(1, WireType.LengthDelimited).string(resourceName);
      }
      if (writeOffset) {
        head.tag(2, WireType.Varint).int64(writeOffset);
      }
      if (finishWrite) {
        head.tag(3, WireType.Varint).bool(true);
      }
      return withData(head, data);
    },
    deserialize(bytes) {
      const message = create(WriteRequestSchema);
      const reader = new BinaryReader(bytes);
      while (reader.pos < reader.len) {
        const [field, wireType] = reader.tag();
        if (field === 1 && wireType === WireType.LengthDelimited) {
          message.resourceName = reader.string(true);
        } else if (field === 2 && wireType === WireType.Varint) {
          message.writeOffset = BigInt(reader.int64());
        } else if (field === 3 && wireType === WireType.Varint) {
          message.finishWrite = reader.bool();
        } else if (field === DATA_FIELD && wireType === WireType.LengthDelimited) {
          message.data = reader.bytes();
        } else {
          reader.skip(wireType, field);
        }
      }
      return message;
    },
  };
}

/** Completes a message with its data. */
function withData(head: BinaryWriter, data: Uint8Array = NO_DATA): Buffer {
  if (data.length > 0) {
    head.tag(DATA_FIELD, WireType.LengthDelimited).uint32(data.length);
  }
  return Buffer.concat([head.finish(), data]);
}
