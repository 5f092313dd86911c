/** Files up to 2^53-1 bytes, and locks up to 2^64-1, through the protocol, against a model that counts in bigints. */
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import fc from "fast-check";
import { MemoryFileSystem } from "../../../src/nfs/index.ts";
import { Attribute } from "../../../src/nfs/protocol/attribute.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { expectResult, handle, openFile, type Step, type TestSession } from "./client.ts";
import { serve } from "./fixture.ts";
import { lock, read, write } from "./steps.ts";

const LARGEST = 2n ** 53n - 1n;
const UNBOUNDED = 2n ** 64n - 1n;
const CHUNK = 2n ** 20n;

/** One file of a session, by the operations that take offsets. */
class RemoteFile {
  readonly session: TestSession;
  readonly handle: Buffer;
  readonly stateid: Buffer;

  constructor(session: TestSession, file: { handle: Buffer; stateid: Buffer }) {
    this.session = session;
    this.handle = file.handle;
    this.stateid = file.stateid;
  }

  /** The operation on the file; the reader stands behind its status. */
  async #call(step: Step, saved?: RemoteFile) {
    const before: Step[] =
      saved === undefined
        ? [["PUTFH", handle(this.handle)]]
        : [["PUTFH", handle(saved.handle)], ["SAVEFH"], ["PUTFH", handle(this.handle)]];
    const reply = await this.session.call([...before, step], { minorVersion: 2 });
    const { reader } = reply;
    for (const [name] of before) {
      expectResult(reader, name);
    }
    expectResult(reader, step[0], reply.status);
    return { status: reply.status, reader };
  }

  async write(offset: bigint, data: Uint8Array): Promise<number> {
    const { status } = await this.#call(write(this.stateid, offset, data));
    return status;
  }

  async read(offset: bigint, count: number): Promise<{ eof: boolean; data: Buffer }> {
    const { status, reader } = await this.#call(read(this.stateid, offset, count));
    assert.equal(status, Status.OK);
    return { eof: reader.bool(), data: reader.opaque(count) };
  }

  /** The one segment of READ_PLUS: a hole's length, data, or nothing at the end of the file. */
  async readPlus(offset: bigint, count: number) {
    const { status, reader } = await this.#call([
      "READ_PLUS",
      (writer) => {
        writer.fixed(this.stateid);
        writer.exactUint64(offset);
        writer.uint32(count);
      },
    ]);
    assert.equal(status, Status.OK);
    const eof = reader.bool();
    if (reader.uint32() === 0) {
      return { eof };
    }
    const kind = reader.uint32();
    assert.equal(BigInt(reader.exactUint64()), offset);
    return kind === 1 ? { eof, hole: BigInt(reader.exactUint64()) } : { eof, data: reader.opaque(count) };
  }

  async setSize(size: bigint): Promise<number> {
    const { status } = await this.#call([
      "SETATTR",
      (writer) => {
        writer.fixed(this.stateid);
        writer.uint32(1);
        writer.uint32(1 << Attribute.SIZE);
        writer.uint32(8);
        writer.exactUint64(size);
      },
    ]);
    return status;
  }

  async attribute(number: number): Promise<bigint> {
    const { status, reader } = await this.#call([
      "GETATTR",
      (writer) => {
        writer.uint32(1);
        writer.uint32(1 << number);
      },
    ]);
    assert.equal(status, Status.OK);
    reader.skip(12);
    return BigInt(reader.exactUint64());
  }

  async seek(offset: bigint, what: "data" | "hole"): Promise<bigint | number> {
    const { status, reader } = await this.#call([
      "SEEK",
      (writer) => {
        writer.fixed(this.stateid);
        writer.exactUint64(offset);
        writer.uint32(what === "data" ? 0 : 1);
      },
    ]);
    if (status !== Status.OK) {
      return status;
    }
    reader.bool();
    return BigInt(reader.exactUint64());
  }

  async reserve(name: "ALLOCATE" | "DEALLOCATE", offset: bigint, length: bigint): Promise<number> {
    const { status } = await this.#call([
      name,
      (writer) => {
        writer.fixed(this.stateid);
        writer.exactUint64(offset);
        writer.exactUint64(length);
      },
    ]);
    return status;
  }

  async cloneFrom(source: RemoteFile, from: bigint, to: bigint, length: bigint, name: "CLONE" | "COPY") {
    const { status } = await this.#call(
      [
        name,
        (writer) => {
          writer.fixed(source.stateid);
          writer.fixed(this.stateid);
          writer.exactUint64(from);
          writer.exactUint64(to);
          writer.exactUint64(length);
          if (name === "COPY") {
            writer.bool(true);
            writer.bool(true);
            writer.uint32(0);
          }
        },
      ],
      source,
    );
    return status;
  }

  async commit(offset: bigint, count: number): Promise<number> {
    const { status } = await this.#call([
      "COMMIT",
      (writer) => {
        writer.exactUint64(offset);
        writer.uint32(count);
      },
    ]);
    return status;
  }

  /** OK, or the range that stands in the way. */
  async lock(owner: string, offset: bigint, length: bigint): Promise<number | [bigint, bigint]> {
    const { status, reader } = await this.#call(lock(this.session, this.stateid, { owner, offset, length }));
    if (status !== Status.DENIED) {
      return status;
    }
    return [BigInt(reader.exactUint64()), BigInt(reader.exactUint64())];
  }
}

async function open(t: TestContext) {
  const { session } = await serve(t);
  const client = await session();
  return {
    file: async (name: string) =>
      new RemoteFile(client, await openFile(client, name, { create: "unchecked" })),
  };
}

/** Bytes that are not zero, by their offset. */
class Model {
  size = 0n;
  bytes = new Map<bigint, number>();

  write(offset: bigint, data: Uint8Array): void {
    data.forEach((byte, index) => {
      if (byte === 0) {
        this.bytes.delete(offset + BigInt(index));
      } else {
        this.bytes.set(offset + BigInt(index), byte);
      }
    });
    this.extend(offset + BigInt(data.length));
  }

  extend(end: bigint): void {
    if (end > this.size) {
      this.size = end;
    }
  }

  clear(from: bigint, to: bigint): void {
    for (const at of this.bytes.keys()) {
      if (at >= from && at < to) {
        this.bytes.delete(at);
      }
    }
  }

  resize(size: bigint): void {
    this.clear(size, this.size);
    this.size = size;
  }

  clone(source: Model, from: bigint, to: bigint, length: bigint): void {
    const moved = [...source.bytes].filter(([at]) => at >= from && at < from + length);
    this.clear(to, to + length);
    for (const [at, byte] of moved) {
      this.bytes.set(at - from + to, byte);
    }
    this.extend(to + length);
  }

  read(offset: bigint, count: number): Buffer {
    const left = this.size - offset;
    const length = left < 0n ? 0 : Number(left < BigInt(count) ? left : BigInt(count));
    const read = Buffer.alloc(length);
    for (let index = 0; index < length; index++) {
      read[index] = this.bytes.get(offset + BigInt(index)) ?? 0;
    }
    return read;
  }
}

/** Around where chunks, numbers and files end. */
const offset = fc
  .tuple(
    fc.constantFrom(0n, CHUNK, 2n ** 32n, 2n ** 48n, LARGEST - 5n * CHUNK),
    fc.oneof(
      fc.bigInt({ min: 0n, max: 9000n }),
      fc.bigInt({ min: CHUNK - 5000n, max: CHUNK + 5000n }),
      fc.constantFrom(0n, 1n, CHUNK, 2n * CHUNK),
    ),
  )
  .map(([base, more]) => base + more);
const length = fc.oneof(fc.bigInt({ min: 1n, max: 9000n }), fc.constantFrom(1n, CHUNK, 2n * CHUNK));
const action = fc.oneof(
  fc.record({ kind: fc.constant("write" as const), offset, count: fc.integer({ min: 1, max: 6000 }) }),
  fc.record({ kind: fc.constant("resize" as const), offset }),
  fc.record({ kind: fc.constant("deallocate" as const), offset, length }),
  fc.record({ kind: fc.constant("allocate" as const), offset, length }),
  fc.record({ kind: fc.constant("clone" as const), from: offset, offset, length }),
  fc.record({ kind: fc.constant("swap" as const) }),
);

/** Where the sum of two offsets is beyond what a number says exactly. */
const SUM_BEYOND_EXACT: [object[], bigint[]] = [
  [
    { kind: "write", offset: LARGEST - 5_242_880n, count: 899 },
    { kind: "swap" },
    { kind: "clone", from: LARGEST - 5_241_982n, offset: LARGEST - 4_194_461n, length: 1n },
  ],
  [0n],
];

describe("large files", () => {
  it("are what a model says that counts in bigints", async (t) => {
    const { file } = await open(t);
    let count = 0;
    let written = 0;
    const check = fc.asyncProperty(
      fc.array(action, { minLength: 1, maxLength: 12 }),
      fc.array(offset, { minLength: 1, maxLength: 4 }),
      async (actions, looks) => {
        let one = { file: await file(`a${count}`), model: new Model() };
        let other = { file: await file(`b${count++}`), model: new Model() };
        for (const step of actions) {
          const { file: remote, model } = one;
          if (step.kind === "swap") {
            [one, other] = [other, one];
          } else if (step.kind === "write") {
            const data = Buffer.alloc(step.count, ++written);
            assert.equal(await remote.write(step.offset, data), Status.OK);
            model.write(step.offset, data);
          } else if (step.kind === "resize") {
            assert.equal(await remote.setSize(step.offset), Status.OK);
            model.resize(step.offset);
          } else if (step.kind === "clone") {
            const fits = step.from + step.length <= other.model.size;
            const status = await remote.cloneFrom(other.file, step.from, step.offset, step.length, "CLONE");
            assert.equal(status, fits ? Status.OK : Status.INVAL);
            if (fits) {
              model.clone(other.model, step.from, step.offset, step.length);
            }
          } else {
            const name = step.kind === "allocate" ? "ALLOCATE" : "DEALLOCATE";
            assert.equal(await remote.reserve(name, step.offset, step.length), Status.OK);
            if (step.kind === "allocate") {
              model.extend(step.offset + step.length);
            } else {
              model.clear(step.offset, step.offset + step.length);
            }
          }
        }
        for (const { file: remote, model } of [one, other]) {
          assert.equal(await remote.attribute(Attribute.SIZE), model.size);
          for (const at of looks) {
            await compare(remote, model, at);
          }
        }
      },
    );
    await fc.assert(check, { numRuns: 100, examples: [SUM_BEYOND_EXACT as never] });
  });

  it("end at 2^53-1, as maxfilesize says", async (t) => {
    const file = await (await open(t)).file("file");
    assert.equal(await file.attribute(Attribute.MAXFILESIZE), LARGEST);
    assert.equal(await file.write(LARGEST - 3n, Buffer.from("end")), Status.OK);
    assert.equal(await file.attribute(Attribute.SIZE), LARGEST);
    const { eof, data } = await file.read(LARGEST - 3n, 100);
    assert.deepEqual([eof, data.toString()], [true, "end"]);
    assert.equal(await file.write(LARGEST - 2n, Buffer.from("end")), Status.FBIG);
    assert.equal(await file.setSize(LARGEST + 1n), Status.FBIG);
    assert.equal(await file.reserve("ALLOCATE", LARGEST, 1n), Status.FBIG);
    assert.equal(await file.reserve("ALLOCATE", 0n, 2n ** 50n), Status.NOSPC);
    assert.equal(await file.reserve("DEALLOCATE", 0n, LARGEST + 1n), Status.FBIG);
    for (const beyond of [LARGEST + 1n, 2n ** 60n, UNBOUNDED]) {
      assert.equal(await file.write(beyond, Buffer.from("x")), Status.FBIG);
      assert.equal(await file.setSize(beyond), Status.FBIG);
      assert.equal(await file.reserve("ALLOCATE", 0n, beyond), Status.FBIG);
      assert.deepEqual(await file.read(beyond, 100), { eof: true, data: Buffer.alloc(0) });
      assert.equal(await file.seek(beyond, "data"), Status.NXIO);
    }
    assert.equal(await file.cloneFrom(file, LARGEST - 3n, LARGEST - 1n, 2n, "CLONE"), Status.FBIG);
    assert.equal(await file.seek(LARGEST, "data"), Status.NXIO);
    assert.equal(await file.seek(0n, "data"), LARGEST - 4095n);
    assert.equal(await file.commit(UNBOUNDED, 0), Status.OK);
    assert.equal(await file.commit(UNBOUNDED, 1), Status.INVAL);
  });

  it("are copied whole at the cost of what is in them", async (t) => {
    const { file } = await open(t);
    const [source, target] = [await file("source"), await file("target")];
    await source.write(2n ** 51n, Buffer.from("far"));
    await source.setSize(2n ** 52n + 5n);
    assert.equal(await target.cloneFrom(source, 0n, 0n, 0n, "COPY"), Status.OK);
    assert.equal(await target.attribute(Attribute.SIZE), 2n ** 52n + 5n);
    assert.equal((await target.read(2n ** 51n, 3)).data.toString(), "far");
    assert.deepEqual(await target.readPlus(0n, 4096), { eof: false, hole: 2n ** 51n });
    assert.equal(await target.seek(2n ** 51n, "hole"), 2n ** 51n + 4096n);
  });

  it("are cloned in turns, between which others are answered", async (t) => {
    const fileSystem = new MemoryFileSystem({ rootMode: 0o777 });
    const owner = { userId: 0, groupId: 0, supplementaryGroupIds: [] };
    const many = await fileSystem.root.createFile("source", owner, {});
    for (let chunk = 0; chunk < 10_000; chunk++) {
      await many.write(chunk * 2 ** 20, Buffer.from("x"));
    }
    const { session } = await serve(t, { fileSystem });
    const [one, another] = [await session("one"), await session("another")];
    const openBy = async (client: TestSession, name: string) =>
      new RemoteFile(client, await openFile(client, name, { create: "unchecked" }));
    const [source, target] = [await openBy(one, "source"), await openBy(one, "target")];
    const other = await openBy(another, "other");
    let cloned: number | undefined;
    const cloning = target.cloneFrom(source, 0n, 0n, 0n, "CLONE").then((status) => {
      cloned = status;
    });
    let answers = 0;
    for (; cloned === undefined; answers++) {
      await other.write(0n, Buffer.from("meanwhile"));
    }
    await cloning;
    assert.equal(cloned, Status.OK);
    assert.ok(answers > 1, `${answers} answers`);
    assert.equal(await target.attribute(Attribute.SIZE), await source.attribute(Attribute.SIZE));
  });

  it("are locked byte by byte up to 2^64-1", async (t) => {
    const file = await (await open(t)).file("file");
    const far = 2n ** 63n + 1n;
    assert.equal(await file.lock("one", far, 1n), Status.OK);
    assert.equal(await file.lock("two", far - 1n, 1n), Status.OK);
    assert.equal(await file.lock("two", far + 1n, UNBOUNDED), Status.OK);
    assert.deepEqual(await file.lock("two", far - 1n, 2n), [far, 1n]);
    assert.deepEqual(await file.lock("one", UNBOUNDED, 1n), Status.INVAL);
    assert.deepEqual(await file.lock("one", UNBOUNDED - 1n, 1n), [far + 1n, UNBOUNDED]);
    assert.equal(await file.lock("one", LARGEST - 1n, 4n), Status.OK);
    assert.deepEqual(await file.lock("two", LARGEST + 2n, 1n), [LARGEST - 1n, 4n]);
    assert.equal(await file.lock("two", LARGEST + 3n, 1n), Status.OK);
  });
});

async function compare(remote: RemoteFile, model: Model, at: bigint): Promise<void> {
  const { eof, data } = await remote.read(at, 5000);
  assert.ok(data.equals(model.read(at, 5000)), `what is at ${at}`);
  assert.equal(eof, at + BigInt(data.length) >= model.size);
  const segment = await remote.readPlus(at, 5000);
  if (segment.hole !== undefined) {
    for (const place of model.bytes.keys()) {
      assert.ok(place < at || place >= at + segment.hole);
    }
  } else if (segment.data !== undefined) {
    assert.ok(segment.data.equals(model.read(at, segment.data.length)));
  }
  const [toData, toHole] = [await remote.seek(at, "data"), await remote.seek(at, "hole")];
  if (at >= model.size) {
    assert.deepEqual([toData, toHole], [Status.NXIO, Status.NXIO]);
    return;
  }
  for (const place of model.bytes.keys()) {
    assert.ok(place < at || place >= toData, `data before ${toData}`);
  }
  assert.ok(toHole <= model.size);
  if (toHole < model.size) {
    assert.ok(!model.bytes.has(BigInt(toHole)));
  }
}
