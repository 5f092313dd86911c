import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { BYTE_STREAM_CODECS } from "../../../src/grpc/byte-stream-codecs.ts";
import {
  ReadResponseSchema,
  WriteRequestSchema,
} from "../../../src/proto/gen/google/bytestream/bytestream_pb.ts";

const readResponse = BYTE_STREAM_CODECS.read.response;
const writeRequest = BYTE_STREAM_CODECS.write.request;

const writeRequests = fc.record({
  resourceName: fc.string({ unit: "binary" }),
  writeOffset: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  finishWrite: fc.boolean(),
  data: fc.uint8Array(),
});

/** Whether a is a part of b's memory. */
function isViewOf(a: Uint8Array, b: Uint8Array): boolean {
  return (
    a.buffer === b.buffer &&
    a.byteOffset >= b.byteOffset &&
    a.byteOffset + a.length <= b.byteOffset + b.length
  );
}

describe("ReadResponse", () => {
  it("decodes to a view of what was received", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 5000 }), (data) => {
        const received = Buffer.from(toBinary(ReadResponseSchema, create(ReadResponseSchema, { data })));
        const message = readResponse.deserialize(received);
        assert.ok(isViewOf(message.data, received));
        assert.deepEqual(new Uint8Array(message.data), data);
      }),
    );
  });

  it("encodes as protobuf-es does", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), (data) => {
        const expected = toBinary(ReadResponseSchema, create(ReadResponseSchema, { data }));
        assert.deepEqual(new Uint8Array(readResponse.serialize({ data })), expected);
      }),
    );
  });

  it("skips unknown fields, and a data field of another wire type", () => {
    const bytes = Buffer.from("08ac02" + "5001" + "5203616263" + "9a0602ffff", "hex");
    assert.deepEqual(Buffer.from(readResponse.deserialize(bytes).data), Buffer.from("abc"));
  });

  it("throws an Error or yields a view, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const received = Buffer.from(bytes);
        let data: Uint8Array;
        try {
          data = readResponse.deserialize(received).data;
        } catch (error) {
          assert.ok(error instanceof Error);
          return;
        }
        assert.ok(data.length === 0 || isViewOf(data, received));
      }),
      { numRuns: 2000 },
    );
  });

  it("refuses data that is cut short, and groups nested without end", () => {
    const whole = readResponse.serialize({ data: new Uint8Array(300) });
    for (let length = 1; length < whole.length; length++) {
      assert.throws(() => readResponse.deserialize(whole.subarray(0, length)));
    }
    assert.throws(() => readResponse.deserialize(Buffer.alloc(1_000_000, 0x0b)));
  });
});

describe("WriteRequest", () => {
  it("encodes as protobuf-es does", () => {
    fc.assert(
      fc.property(writeRequests, (init) => {
        const message = create(WriteRequestSchema, init);
        assert.deepEqual(
          new Uint8Array(writeRequest.serialize(message)),
          toBinary(WriteRequestSchema, message),
        );
      }),
    );
  });

  it("decodes as protobuf-es does, data as a view", () => {
    fc.assert(
      fc.property(writeRequests, (init) => {
        const received = Buffer.from(toBinary(WriteRequestSchema, create(WriteRequestSchema, init)));
        const message = writeRequest.deserialize(received);
        assert.deepEqual(message, fromBinary(WriteRequestSchema, received));
        assert.ok(message.data.length === 0 || isViewOf(message.data, received));
      }),
    );
  });

  it("throws an Error or decodes, whatever the bytes", () => {
    const valid = writeRequests.map((init) => toBinary(WriteRequestSchema, create(WriteRequestSchema, init)));
    const damaged = fc.tuple(valid, fc.nat(), fc.nat(255)).map(([bytes, at, value]) => {
      if (bytes.length > 0) {
        bytes[at % bytes.length] = value;
      }
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 200 })), (bytes) => {
        try {
          writeRequest.deserialize(Buffer.from(bytes));
        } catch (error) {
          assert.ok(error instanceof Error);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
