import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { setTimeout } from "node:timers/promises";
import fc from "fast-check";
import { Status } from "../../../src/nfs/protocol/status.ts";
import type { XdrReader, XdrWriter } from "../../../src/xdr/index.ts";
import { answerCallback, CallbackOperation, type CallbackRequest, parseCallback } from "./callback-client.ts";
import { expectResult, handle, openFile, type Step, TestSession } from "./client.ts";
import { DelegationType, openDelegated, openWanting } from "./delegation.ts";
import { type Fixture, serve } from "./fixture.ts";
import { read, write } from "./steps.ts";

const BOTH = 3;
const WRITE_WANTED = BOTH | 0x200;
const ANY_WANTED = 0x300;
const NO_DELEGATION_WANTED = 0x400;
const TIMESTAMPS_WANTED = 0x10_0000;
const XOR_WANTED = 0x20_0000;
const CHANGE = 3;
const SIZE = 4;
const RDATTR_ERROR = 11;
const TIME_ACCESS = 47;
const TIME_METADATA = 52;
const TIME_MODIFY = 53;
const TIME_DELEG_ACCESS = 84;
const TIME_DELEG_MODIFY = 85;
const OPEN_ARGUMENTS = 86;
const MINOR_2 = { minorVersion: 2 };

function writeBitmap(writer: XdrWriter, attributes: readonly number[]): void {
  const words = [0, 0, 0];
  for (const attribute of attributes) {
    words[attribute >> 5]! |= 1 << (attribute & 31);
  }
  writer.uint32(3);
  for (const word of words) {
    writer.uint32(word >>> 0);
  }
}

function getattr(...attributes: number[]): Step {
  return ["GETATTR", (writer) => writeBitmap(writer, attributes)];
}

interface Seen {
  change: number;
  size: number;
  access: number;
  metadata: number;
  modify: number;
}

/** Times in nanoseconds since 1970, as far as a double holds them. */
function readTime(reader: XdrReader): number {
  return reader.int64() * 1e9 + reader.uint32();
}

async function look(session: TestSession, file: Buffer): Promise<Seen | number> {
  const { reader, status } = await session.call(
    [["PUTFH", handle(file)], getattr(CHANGE, SIZE, TIME_ACCESS, TIME_METADATA, TIME_MODIFY)],
    MINOR_2,
  );
  if (status !== Status.OK) {
    return status;
  }
  expectResult(reader, "PUTFH");
  expectResult(reader, "GETATTR");
  reader.skip(4 * reader.length(3));
  reader.uint32();
  return {
    change: reader.uint64(),
    size: reader.uint64(),
    access: readTime(reader),
    metadata: readTime(reader),
    modify: readTime(reader),
  };
}

async function seen(session: TestSession, file: Buffer): Promise<Seen> {
  const attributes = await look(session, file);
  if (typeof attributes === "number") {
    throw new Error(`GETATTR failed with status ${attributes}`);
  }
  return attributes;
}

interface Held {
  change: number;
  size: number;
  /** Seconds since 1970. */
  access?: number;
  modify?: number;
}

function answerAttributes(call: CallbackRequest, held: Held): void {
  answerCallback(call, Status.OK, (writer) => {
    const times = [held.access, held.modify].filter((time) => time !== undefined);
    const attributes = [CHANGE, SIZE];
    if (held.access !== undefined) {
      attributes.push(TIME_DELEG_ACCESS);
    }
    if (held.modify !== undefined) {
      attributes.push(TIME_DELEG_MODIFY);
    }
    writeBitmap(writer, attributes);
    writer.uint32(16 + 12 * times.length);
    writer.uint64(held.change);
    writer.uint64(held.size);
    for (const time of times) {
      writer.int64(time);
      writer.uint32(0);
    }
  });
}

async function nextCall(session: TestSession): Promise<CallbackRequest> {
  const [message] = await once(session.connection.callbacks, "call");
  return parseCallback(session.connection, message as Buffer);
}

/** A client with a WRITE delegation of an empty file, another one, and the file's attributes when it was given. */
async function start({ connect, session }: Fixture, wants = 0) {
  const holder = await TestSession.create(await connect(), "holder", 1, true);
  await openFile(holder, "file", { create: "unchecked", access: 1 | NO_DELEGATION_WANTED });
  const { file, stateid, type } = await openWanting(holder, "file", WRITE_WANTED | wants, MINOR_2);
  const given = await seen(holder, file);
  return { holder, other: await session("other"), file, stateid, type, given };
}

/** What `other` sees while the holder answers so. */
async function lookWhile(
  holder: TestSession,
  other: TestSession,
  file: Buffer,
  answer: (call: CallbackRequest) => void,
): Promise<Seen | number> {
  const called = nextCall(holder);
  const looked = look(other, file);
  const call = await called;
  assert.equal(call.operation, CallbackOperation.GETATTR);
  answer(call);
  return looked;
}

describe("the attributes of a file with a WRITE delegation", () => {
  it("stay as they are while the holder has not modified it", async (t) => {
    const { holder, other, file, given } = await start(await serve(t, { delegations: true }));
    const attributes = await lookWhile(holder, other, file, (call) =>
      answerAttributes(call, { change: given.change, size: 0 }),
    );
    assert.deepEqual(attributes, given);
  });

  it("have the holder's size, and a new change attribute with every question once it is modified", async (t) => {
    const { holder, other, file, given } = await start(await serve(t, { delegations: true }));
    const modified = (call: CallbackRequest) => answerAttributes(call, { change: given.change + 1, size: 5 });
    const first = (await lookWhile(holder, other, file, modified)) as Seen;
    assert.equal(first.size, 5);
    assert.ok(first.change > given.change && first.modify > given.modify && first.metadata > given.metadata);
    // It says the same, or even that it has nothing left to write: it may have written again in between.
    const second = (await lookWhile(holder, other, file, modified)) as Seen;
    assert.ok(second.change > first.change);
    const third = await lookWhile(holder, other, file, (call) =>
      answerAttributes(call, { change: given.change, size: 0 }),
    );
    assert.ok((third as Seen).change > second.change);
    assert.equal((await seen(holder, file)).size, 0, "the file itself keeps its size");
  });

  it("are asked once for several that want to know at the same time", async (t) => {
    const { holder, other, file, given } = await start(await serve(t, { delegations: true }));
    let calls = 0;
    holder.connection.callbacks.on("call", () => calls++);
    const called = nextCall(holder);
    const looked = [0, 1, 2].map((slot) =>
      other.call([["PUTFH", handle(file)], getattr(SIZE)], { slot, ...MINOR_2 }),
    );
    const call = await called;
    await other.call([], { slot: 3 });
    answerAttributes(call, { change: given.change + 1, size: 7 });
    for (const { status } of await Promise.all(looked)) {
      assert.equal(status, Status.OK);
    }
    assert.equal(calls, 1);
  });

  it("wait for the delegation's return when the holder is silent", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const { holder, other, file, stateid } = await start(await serve(t, { delegations: true }));
    await openFile(holder, "second", { create: "unchecked", access: 1 | NO_DELEGATION_WANTED });
    const second = await openDelegated(holder, "second", WRITE_WANTED);
    const calls: CallbackRequest[] = [];
    const recalled = Promise.withResolvers<void>();
    holder.connection.callbacks.on("call", (message) => {
      const call = parseCallback(holder.connection, message);
      calls.push(call);
      if (call.operation === CallbackOperation.GETATTR) {
        t.mock.timers.tick(1000);
      } else {
        recalled.resolve();
      }
    });
    assert.equal(await look(other, file), Status.DELAY);
    await recalled.promise;
    assert.deepEqual(
      calls.map(({ operation }) => operation),
      [CallbackOperation.GETATTR, CallbackOperation.RECALL],
    );
    assert.equal(await look(other, file), Status.DELAY);
    assert.equal(await look(other, second.file), Status.DELAY);
    await holder.call([]);
    assert.deepEqual(
      calls.map(({ operation }) => operation),
      [CallbackOperation.GETATTR, CallbackOperation.RECALL, CallbackOperation.RECALL],
      "it is not asked for another file soon",
    );
    const returned = await holder.call([
      ["PUTFH", handle(file)],
      ["DELEGRETURN", (writer) => writer.fixed(stateid)],
    ]);
    assert.equal(returned.status, Status.OK);
    assert.equal((await seen(other, file)).size, 0);
  });

  it("are not taken from an answer that makes no sense", async (t) => {
    const fixture = await serve(t, { delegations: true });
    const word = fc.oneof(fc.nat(24), fc.integer({ min: 0, max: 0xffff_ffff }));
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(word, { maxLength: 20 }),
        fc.constantFrom([], [3], [3, 0x18]),
        async (words, head) => {
          const name = `file ${run++}`;
          const holder = await TestSession.create(await fixture.connect(), `holder ${run}`, 1, true);
          await openFile(holder, name, { create: "unchecked", access: 1 | NO_DELEGATION_WANTED });
          const { file } = await openDelegated(holder, name, WRITE_WANTED);
          const other = await fixture.session(`other ${run}`);
          const seen = await lookWhile(holder, other, file, (call) =>
            answerCallback(call, Status.OK, (writer) => {
              for (const value of [...head, ...words]) {
                writer.uint32(value);
              }
            }),
          );
          assert.equal(seen, Status.DELAY);
          holder.connection.close();
          other.connection.close();
        },
      ),
      { numRuns: 40 },
    );
  });

  it("are those of the holder in READDIR, where an entry without an answer fails alone", async (t) => {
    const { holder, other, file, given } = await start(await serve(t, { delegations: true }));
    const list = async (attributes: number[], answer: (call: CallbackRequest) => void) => {
      const called = nextCall(holder);
      const listing = other.call([
        ["PUTROOTFH"],
        [
          "READDIR",
          (writer) => {
            for (const word of [0, 0, 0, 0, 4096, 4096]) {
              writer.uint32(word);
            }
            writeBitmap(writer, attributes);
          },
        ],
      ]);
      answer(await called);
      const { reader, status } = await listing;
      if (status !== Status.OK) {
        return status;
      }
      expectResult(reader, "PUTROOTFH");
      expectResult(reader, "READDIR");
      reader.skip(8);
      assert.equal(reader.bool(), true);
      reader.skip(8);
      assert.equal(reader.latin1(255), "file");
      const bitmap = Array.from({ length: reader.uint32() }, () => reader.uint32());
      reader.uint32();
      return { bitmap, value: bitmap[0] === 1 << RDATTR_ERROR ? reader.uint32() : reader.uint64() };
    };
    assert.deepEqual(
      await list([SIZE], (call) => answerAttributes(call, { change: given.change + 1, size: 9 })),
      { bitmap: [1 << SIZE], value: 9 },
    );
    assert.deepEqual(await list([SIZE, RDATTR_ERROR], (call) => answerCallback(call, Status.BADHANDLE)), {
      bitmap: [1 << RDATTR_ERROR],
      value: Status.DELAY,
    });
    assert.equal(await look(other, file), Status.DELAY, "it is being recalled");
  });

  it("do not keep a READDIR for long where the holder answers late: it lists what it has", async (t) => {
    const { connect, session: begin } = await serve(t, { delegations: true });
    const holder = await TestSession.create(await connect(), "holder", 1, true);
    const names = ["a", "b", "c", "d"];
    for (const name of names) {
      await openFile(holder, name, { create: "unchecked", access: 1 | NO_DELEGATION_WANTED });
      await openDelegated(holder, name, WRITE_WANTED);
    }
    holder.connection.callbacks.on("call", async (message) => {
      await setTimeout(600);
      answerAttributes(parseCallback(holder.connection, message), { change: 1, size: 9 });
    });
    const { reader } = await (await begin("other")).call([
      ["PUTROOTFH"],
      [
        "READDIR",
        (writer) => {
          for (const word of [0, 0, 0, 0, 4096, 4096]) {
            writer.uint32(word);
          }
          writeBitmap(writer, [SIZE]);
        },
      ],
    ]);
    expectResult(reader, "PUTROOTFH");
    expectResult(reader, "READDIR");
    reader.skip(8);
    const listed: string[] = [];
    while (reader.bool()) {
      reader.skip(8);
      listed.push(reader.latin1(255));
      reader.skip(4 * reader.length(3));
      assert.equal(reader.length(8), 8);
      assert.equal(reader.uint64(), 9);
    }
    assert.ok(listed.length > 0 && listed.length < names.length, `listed ${listed}`);
    assert.equal(reader.bool(), false, "there is more");
  });
});

describe("RFC 9754", () => {
  it("has open_arguments in NFSv4.2, and times that nobody can ask for", async (t) => {
    const session = await (await serve(t)).session();
    const { reader } = await session.call([["PUTROOTFH"], getattr(OPEN_ARGUMENTS)], MINOR_2);
    expectResult(reader, "PUTROOTFH");
    expectResult(reader, "GETATTR");
    assert.deepEqual(
      Array.from({ length: 4 }, () => reader.uint32()),
      [3, 0, 0, 1 << (OPEN_ARGUMENTS - 64)],
    );
    reader.uint32();
    const values = Array.from({ length: 5 }, () => [reader.uint32(), reader.uint32()]);
    const wants = (1 << 3) | (1 << 4) | (1 << 5) | (1 << 20) | (1 << 21);
    assert.deepEqual(values, [
      [1, 0b1110],
      [1, 0b1111],
      [1, wants],
      [1, 0b110111],
      [1, 0b1111],
    ]);
    assert.equal((await session.call([["PUTROOTFH"], getattr(OPEN_ARGUMENTS)])).status, Status.OK);
    const times = await session.call([["PUTROOTFH"], getattr(TIME_DELEG_MODIFY)], MINOR_2);
    assert.equal(times.status, Status.INVAL);
  });

  it("gives a delegation instead of an open where the client wants one of them", async (t) => {
    const { connect } = await serve(t, { delegations: true });
    const session = await TestSession.create(await connect(), "holder", 1, true);
    const empty = Buffer.alloc(16);
    await openFile(session, "file", { create: "unchecked", owner: "creator", access: 2 });
    const access = 1 | XOR_WANTED;
    const opened = await openWanting(session, "file", access, MINOR_2);
    assert.deepEqual([opened.type, opened.open, opened.flags & 0x10], [DelegationType.READ, empty, 0x10]);
    const { status } = await session.call([["PUTFH", handle(opened.file)], read(opened.stateid, 0, 10)]);
    assert.equal(status, Status.OK);
    // No second delegation for the same client: it gets an open, and from then on the open's new seqids.
    const again = await openWanting(session, "file", access, MINOR_2);
    assert.deepEqual([again.type, again.flags & 0x10], [DelegationType.NONE, 0]);
    assert.notDeepEqual(again.open, empty);
    assert.equal((await openWanting(session, "file", access, MINOR_2)).open.readUInt32BE(0), 2);
  });

  it("gives an open beside a delegation that allows less than was asked for", async (t) => {
    const { connect, session: start } = await serve(t, { delegations: true });
    const session = await TestSession.create(await connect(), "holder", 1, true);
    await openFile(await start("reader"), "file", { create: "unchecked", access: 1 });
    const opened = await openWanting(session, "file", BOTH | ANY_WANTED | XOR_WANTED, MINOR_2);
    assert.deepEqual([opened.type, opened.flags & 0x10], [DelegationType.READ, 0]);
    const { status } = await session.call([
      ["PUTFH", handle(opened.file)],
      write(opened.open, 0, Buffer.from("data"), 0),
    ]);
    assert.equal(status, Status.OK);
  });

  it("lets a holder of timestamps say them in CB_GETATTR, but none from before or from the future", async (t) => {
    const fixture = await serve(t, { delegations: true });
    const { holder, other, file, type, given } = await start(fixture, TIMESTAMPS_WANTED);
    assert.equal(type, DelegationType.WRITE_ATTRS);
    const now = Math.floor(Date.now() / 1000);
    const early = (await lookWhile(holder, other, file, (call) =>
      answerAttributes(call, { change: given.change, size: 0, access: 1000, modify: 1000 }),
    )) as Seen;
    assert.deepEqual(early, given);
    const late = (await lookWhile(holder, other, file, (call) =>
      answerAttributes(call, { change: given.change + 1, size: 3, access: 1000, modify: now + 3600 }),
    )) as Seen;
    assert.equal(late.size, 3);
    assert.equal(late.access, given.access);
    assert.ok(late.modify > given.modify && late.modify < (now + 1800) * 1e9);
    assert.equal(late.metadata, late.modify);
    assert.ok(late.change > given.change);
  });

  it("takes the times that the holder has kept by SETATTR, from nobody else", async (t) => {
    const fixture = await serve(t, { delegations: true });
    const { holder, other, file, stateid, given } = await start(fixture, TIMESTAMPS_WANTED);
    const set = async (session: TestSession, id: Buffer, attribute: number, time: number) => {
      const { status } = await session.call(
        [
          ["PUTFH", handle(file)],
          [
            "SETATTR",
            (writer) => {
              writer.fixed(id);
              writeBitmap(writer, [attribute]);
              writer.uint32(12);
              writer.int64(time);
              writer.uint32(0);
            },
          ],
        ],
        MINOR_2,
      );
      return status;
    };
    const future = Math.floor(Date.now() / 1000) + 3600;
    assert.equal(await set(holder, stateid, TIME_DELEG_ACCESS, 1000), Status.OK);
    assert.deepEqual(await seen(holder, file), given, "a time from before is ignored");
    assert.equal(await set(holder, stateid, TIME_DELEG_ACCESS, future), Status.OK);
    const accessed = await seen(holder, file);
    assert.ok(accessed.access > given.access && accessed.access < future * 1e9, "clamped to now");
    assert.deepEqual({ ...accessed, access: given.access }, given, "an access changes nothing else");
    assert.equal(await set(holder, stateid, TIME_DELEG_MODIFY, future), Status.OK);
    const modified = await seen(holder, file);
    assert.ok(modified.modify > given.modify && modified.change > given.change);
    assert.equal(modified.metadata, modified.modify);
    assert.equal(await set(other, stateid, TIME_DELEG_MODIFY, future), Status.BAD_STATEID);
    assert.equal(await set(holder, Buffer.alloc(16), TIME_DELEG_MODIFY, future), Status.BAD_STATEID);
  });

  it("lets a reader keep the access time only", async (t) => {
    const { connect } = await serve(t, { delegations: true });
    const session = await TestSession.create(await connect(), "holder", 1, true);
    await openFile(session, "file", { create: "unchecked", access: 1 | NO_DELEGATION_WANTED });
    const { type, stateid, file } = await openWanting(session, "file", 1 | TIMESTAMPS_WANTED, MINOR_2);
    assert.equal(type, DelegationType.READ_ATTRS);
    const { status } = await session.call(
      [
        ["PUTFH", handle(file)],
        [
          "SETATTR",
          (writer) => {
            writer.fixed(stateid);
            writeBitmap(writer, [TIME_DELEG_MODIFY]);
            writer.uint32(12);
            writer.int64(Math.floor(Date.now() / 1000));
            writer.uint32(0);
          },
        ],
      ],
      MINOR_2,
    );
    assert.equal(status, Status.OPENMODE);
  });
});
