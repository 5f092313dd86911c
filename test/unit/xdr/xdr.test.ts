import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { RecordReader, RecordTooLongError, XdrError, XdrReader, XdrWriter } from "../../../src/xdr/index.ts";

function read(bytes: Buffer): XdrReader {
  const reader = new XdrReader();
  reader.reset(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length);
  return reader;
}

function message(writer: XdrWriter): Buffer {
  return Buffer.concat(writer.segments());
}

describe("XDR", () => {
  it("reads what it wrote", () => {
    const word = fc.integer({ min: 0, max: 0xffff_ffff });
    const bytes = fc.uint8Array({ maxLength: 200 });
    fc.assert(
      fc.property(
        word,
        fc.maxSafeInteger(),
        fc.maxSafeNat(),
        bytes,
        bytes,
        (small, signed, large, copied, attached) => {
          const writer = new XdrWriter(4);
          writer.uint32(small);
          writer.int64(signed);
          writer.uint64(large);
          writer.opaque(copied);
          writer.attach(attached);
          writer.latin1(Buffer.from(copied).toString("latin1"));
          writer.decimal(large);
          const whole = message(writer);
          assert.equal(whole.length, writer.length);
          assert.equal(whole.length % 4, 0);
          const reader = read(whole);
          assert.equal(reader.uint32(), small);
          assert.equal(reader.int64(), signed);
          assert.equal(reader.uint64(), large);
          assert.deepEqual(Buffer.from(reader.opaque(200)), Buffer.from(copied));
          assert.deepEqual(Buffer.from(reader.opaque(200)), Buffer.from(attached));
          assert.equal(reader.latin1(200), Buffer.from(copied).toString("latin1"));
          assert.equal(reader.latin1(20), String(large));
          assert.equal(reader.remaining, 0);
        },
      ),
    );
  });

  it("says so when the bytes end early, whatever they are", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 40 }),
        fc.array(fc.nat(6), { minLength: 1, maxLength: 12 }),
        (bytes, verbs) => {
          const reader = read(Buffer.from(bytes));
          try {
            for (const verb of verbs) {
              if (verb === 0) {
                reader.uint32();
              } else if (verb === 1) {
                reader.uint64();
              } else if (verb === 2) {
                reader.opaque(0xffff_ffff);
              } else if (verb === 3) {
                reader.latin1(16);
              } else if (verb === 4) {
                reader.bool();
              } else if (verb === 5) {
                reader.int64();
              } else {
                reader.fixed(12);
              }
            }
          } catch (error) {
            assert.ok(error instanceof XdrError);
          }
          assert.ok(reader.position <= reader.end);
        },
      ),
    );
  });

  it("keeps 64-bit numbers beyond 2^53 out of the exact range", () => {
    const bytes = Buffer.alloc(8, 0xff);
    assert.equal(read(bytes).uint64(), 2 ** 64);
    bytes.writeBigUInt64BE(2n ** 53n + 1n);
    assert.ok(read(bytes).uint64() > Number.MAX_SAFE_INTEGER);
  });

  it("forgets attachments behind a truncation, and moves those behind a position", () => {
    const writer = new XdrWriter();
    writer.uint32(1);
    writer.attach(Buffer.from("kept"));
    const at = writer.position;
    writer.uint32(2);
    writer.attach(Buffer.from("moved!"));
    const target = new XdrWriter();
    target.uint32(9);
    writer.moveTo(target, at);
    assert.equal(writer.length, 12);
    assert.equal(message(target).toString("hex"), "0000000900000002000000066d6f766564210000");
    target.truncate(4);
    assert.equal(target.length, 4);
    assert.equal(message(target).toString("hex"), "00000009");
  });
});

describe("record marking", () => {
  /** A record as fragments of the given sizes. */
  function fragments(record: Buffer, cuts: readonly number[]): Buffer {
    const parts: Buffer[] = [];
    let at = 0;
    for (const [index, cut] of [...cuts, record.length].entries()) {
      const last = index === cuts.length;
      const part = record.subarray(at, last ? record.length : Math.min(at + cut, record.length));
      const header = Buffer.alloc(4);
      header.writeUInt32BE(((last ? 0x8000_0000 : 0) | part.length) >>> 0);
      parts.push(header, part);
      at += part.length;
    }
    return Buffer.concat(parts);
  }

  it("gives the same records however they are fragmented and the stream is cut", () => {
    const record = fc.tuple(fc.uint8Array({ maxLength: 300 }), fc.array(fc.nat(100), { maxLength: 4 }));
    fc.assert(
      fc.property(
        fc.array(record, { maxLength: 6 }),
        fc.array(fc.nat(80), { maxLength: 40 }),
        (records, cuts) => {
          const stream = Buffer.concat(records.map(([bytes, sizes]) => fragments(Buffer.from(bytes), sizes)));
          const seen: string[] = [];
          const reader = new RecordReader(1000, (buffer, view, start, end) => {
            assert.equal(view.byteLength, buffer.length);
            seen.push(buffer.toString("hex", start, end));
            return true;
          });
          let at = 0;
          for (const cut of cuts) {
            reader.push(stream.subarray(at, at + cut));
            at += cut;
          }
          reader.push(stream.subarray(at));
          assert.deepEqual(
            seen,
            records.map(([bytes]) => Buffer.from(bytes).toString("hex")),
          );
        },
      ),
    );
  });

  it("uses a large assembly buffer again only when the consumer has done with it", () => {
    const seen: Buffer[] = [];
    let done = false;
    const reader = new RecordReader(1 << 20, (buffer) => {
      seen.push(buffer);
      return done;
    });
    const stream = fragments(Buffer.alloc(600_000), []);
    const push = () => {
      for (let at = 0; at < stream.length; at += 65536) {
        reader.push(stream.subarray(at, at + 65536));
      }
    };
    push();
    done = true;
    push();
    push();
    assert.notEqual(seen[0], seen[1]);
    assert.equal(seen[1], seen[2]);
  });

  it("refuses records that are too long, and ones of endless fragments", () => {
    const reader = () => new RecordReader(1000, () => true);
    const header = Buffer.alloc(4);
    header.writeUInt32BE(0x8000_0000 + 1001);
    assert.throws(() => reader().push(header), RecordTooLongError);
    assert.throws(() => reader().push(fragments(Buffer.alloc(1200), [600])), RecordTooLongError);
    assert.throws(() => reader().push(Buffer.alloc(4 * 5000)), RecordTooLongError);
  });

  it("holds no more memory than has arrived", () => {
    const reader = new RecordReader(1 << 30, () => true);
    const header = Buffer.alloc(68);
    header.writeUInt32BE(0x8000_0000 + (1 << 29));
    const before = process.memoryUsage().arrayBuffers;
    reader.push(header);
    assert.ok(process.memoryUsage().arrayBuffers - before < 1 << 20);
  });
});
