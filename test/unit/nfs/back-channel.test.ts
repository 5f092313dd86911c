import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Status } from "../../../src/nfs/protocol/status.ts";
import {
  answerCallback,
  CallbackOperation,
  type CallbackRequest,
  callbacksOn,
  parseCallback,
} from "./callback-client.ts";
import { handle, openFile, type TestConnection, TestSession } from "./client.ts";
import { openDelegated } from "./delegation.ts";
import { type Fixture, serve } from "./fixture.ts";

const READ_WANTED = 1 | 0x100;
const CB_PATH_DOWN_SESSION = 0x200;
const BACK_CHANNEL_FAULT = 0x400;

/** sr_status_flags of a SEQUENCE. */
async function statusFlags(session: TestSession, on: TestConnection): Promise<number> {
  const { bytes } = await session.call([], { on });
  return bytes.readUInt32BE(12 + 8 + 32);
}

/** Offers the connection to the session for calls. */
async function bind(session: TestSession, connection: TestConnection): Promise<void> {
  const { status } = await connection.compound([
    [
      "BIND_CONN_TO_SESSION",
      (writer) => {
        writer.fixed(session.id);
        writer.uint32(3);
        writer.bool(false);
      },
    ],
  ]);
  assert.equal(status, Status.OK);
}

async function nextCall(session: TestSession): Promise<CallbackRequest> {
  const [message] = await once(session.connection.callbacks, "call");
  return parseCallback(session.connection, message as Buffer);
}

/** A client with READ delegations of the files, and another that opens them for writing. */
async function start({ connect, session }: Fixture, files: readonly string[]) {
  const holder = await TestSession.create(await connect(), "holder", 1, true);
  const held = [];
  for (const file of files) {
    await openFile(holder, file, { create: "unchecked", access: 1 | 0x400 });
    held.push(await openDelegated(holder, file, READ_WANTED));
  }
  const other = await session("other");
  const conflict = async (file: string) => (await openFile(other, file, { access: 2 })).status;
  return { holder, held, conflict };
}

describe("the back channel", () => {
  it("has as many calls under way as the client has slots, and numbers those of each slot", async (t) => {
    const { holder, conflict } = await start(await serve(t, { delegations: true }), ["a", "b", "c"]);
    const calls = callbacksOn(holder.connection);
    const seen: string[] = [];
    const take = async () => {
      const call = (await calls.next()).value as CallbackRequest;
      seen.push(`slot ${call.slotid}: ${call.sequenceid}`);
      return call;
    };
    const first = take();
    assert.equal(await conflict("a"), Status.DELAY);
    await first;
    const second = take();
    assert.equal(await conflict("b"), Status.DELAY);
    answerCallback(await first, Status.OK);
    answerCallback(await second, Status.OK);
    const third = take();
    assert.equal(await conflict("c"), Status.DELAY);
    await third;
    assert.deepEqual(seen, ["slot 0: 1", "slot 1: 1", "slot 0: 2"]);
  });

  it("repeats the call by another connection when the first one breaks", async (t) => {
    const fixture = await serve(t, { delegations: true });
    const { holder, conflict } = await start(fixture, ["file"]);
    const called = nextCall(holder);
    assert.equal(await conflict("file"), Status.DELAY);
    const before = await called;
    holder.connection.close();
    const connection = await fixture.connect();
    assert.equal(await statusFlags(holder, connection), CB_PATH_DOWN_SESSION);
    const again = once(connection.callbacks, "call");
    await bind(holder, connection);
    const after = parseCallback(connection, (await again)[0] as Buffer);
    assert.equal(after.operation, CallbackOperation.RECALL);
    assert.deepEqual([after.slotid, after.sequenceid], [before.slotid, before.sequenceid]);
    assert.equal(await statusFlags(holder, connection), 0);
  });

  it("goes on when the client has had the call before it was repeated, but kept no reply", async (t) => {
    for (const answer of [Status.RETRY_UNCACHED_REP, Status.SEQ_FALSE_RETRY]) {
      const fixture = await serve(t, { delegations: true });
      const { holder, conflict } = await start(fixture, ["file"]);
      const called = nextCall(holder);
      assert.equal(await conflict("file"), Status.DELAY);
      const before = await called;
      holder.connection.close();
      const connection = await fixture.connect();
      const calls = callbacksOn(connection);
      const repeated = calls.next();
      await bind(holder, connection);
      answerCallback((await repeated).value as CallbackRequest, Status.OK, undefined, answer);
      assert.equal(await statusFlags(holder, connection), 0);
      const next = calls.next();
      assert.equal(await conflict("file"), Status.DELAY);
      const { sequenceid, operation } = (await next).value as CallbackRequest;
      assert.deepEqual([sequenceid, operation], [before.sequenceid + 1, CallbackOperation.RECALL]);
    }
  });

  it("recalls again at the next conflict when the client was too busy", async (t) => {
    const { holder, conflict } = await start(await serve(t, { delegations: true }), ["file"]);
    for (const answer of [
      (call: CallbackRequest) => answerCallback(call, Status.DELAY),
      (call: CallbackRequest) => answerCallback(call, Status.OK, undefined, Status.DELAY),
      (call: CallbackRequest) => answerCallback(call, Status.OK),
    ]) {
      const called = nextCall(holder);
      assert.equal(await conflict("file"), Status.DELAY);
      answer(await called);
      await holder.call([]);
    }
    let calls = 0;
    holder.connection.callbacks.on("call", () => calls++);
    assert.equal(await conflict("file"), Status.DELAY);
    await holder.call([]);
    assert.equal(calls, 0, "it has agreed");
  });

  it("calls the program that BACKCHANNEL_CTL named", async (t) => {
    const { holder, conflict } = await start(await serve(t, { delegations: true }), ["file"]);
    const { status } = await holder.call([
      [
        "BACKCHANNEL_CTL",
        (writer) => {
          writer.uint32(0x4000_1234);
          writer.uint32(1);
          writer.uint32(0);
        },
      ],
    ]);
    assert.equal(status, Status.OK);
    const called = nextCall(holder);
    await conflict("file");
    assert.equal((await called).program, 0x4000_1234);
  });

  it("is given up, which SEQUENCE tells, when the client's count of a slot is another", async (t) => {
    const { holder, held, conflict } = await start(await serve(t, { delegations: true }), ["file"]);
    const called = nextCall(holder);
    await conflict("file");
    answerCallback(await called, Status.OK, undefined, Status.SEQ_MISORDERED);
    assert.equal(await statusFlags(holder, holder.connection), BACK_CHANNEL_FAULT);
    const { file, stateid } = held[0]!;
    await holder.call([
      ["PUTFH", handle(file)],
      ["DELEGRETURN", (writer) => writer.fixed(stateid)],
    ]);
    assert.equal(await conflict("file"), Status.OK);
  });

  it("takes any bytes for a reply without harm", async (t) => {
    const fixture = await serve(t, { delegations: true });
    const { holder, conflict } = await start(fixture, ["file"]);
    const replies = fc.array(fc.oneof(fc.nat(12), fc.integer({ min: 0, max: 0xffff_ffff })), {
      minLength: 0,
      maxLength: 24,
    });
    let seed = 0;
    await fc.assert(
      fc.asyncProperty(replies, fc.boolean(), async (words, accepted) => {
        const session = await TestSession.create(await fixture.connect(), `holder ${seed++}`, 1, true);
        const name = `file ${seed}`;
        await openFile(session, name, { create: "unchecked", access: 1 | 0x400 });
        await openDelegated(session, name, READ_WANTED);
        const called = nextCall(session);
        assert.equal(await conflict(name), Status.DELAY);
        const { xid } = await called;
        const body = accepted ? [1, 0, 0, 0, 0, ...words] : [1, ...words];
        const bytes = Buffer.alloc(4 * body.length);
        body.forEach((word, index) => {
          bytes.writeUInt32BE(word >>> 0, 4 * index);
        });
        session.connection.send(xid, bytes);
        assert.equal((await session.call([])).status, Status.OK);
        session.connection.close();
      }),
      { numRuns: 60 },
    );
    const called = nextCall(holder);
    assert.equal(await conflict("file"), Status.DELAY);
    assert.equal((await called).operation, CallbackOperation.RECALL);
  });
});
