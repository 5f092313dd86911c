import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { NfsServer } from "../../../src/nfs/index.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { answerCallback, CallbackOperation, parseCallback } from "./callback-client.ts";
import { expectResult, handle, openFile, type Step, TestSession } from "./client.ts";
import { openWanting } from "./delegation.ts";
import { recordOf, serve } from "./fixture.ts";
import { lock } from "./steps.ts";

const WRITE = 2;
const READ_BLOCKING = 3;
const WRITE_BLOCKING = 4;
const MAY_NOTIFY_LOCK = 0x20;

interface Range {
  type: number;
  offset: number;
  length: number;
}

async function lockFile(
  session: TestSession,
  open: { stateid: Buffer; handle: Buffer },
  owner: string,
  range: Range,
) {
  const { reader, status } = await session.call([
    ["PUTFH", handle(open.handle)],
    lock(session, open.stateid, { owner, ...range }),
  ]);
  if (status !== Status.OK) {
    return { status, stateid: Buffer.alloc(0) };
  }
  expectResult(reader, "PUTFH");
  expectResult(reader, "LOCK");
  return { status, stateid: Buffer.from(reader.fixed(16)) };
}

describe("CB_NOTIFY_LOCK", () => {
  it("tells who waits for a lock when nothing stands in its way any more", async (t) => {
    const { connect, session: start } = await serve(t);
    const waiter = await TestSession.create(await connect(), "waiter", 1, true);
    const holder = await start("holder");
    await openFile(holder, "file", { create: "unchecked" });
    const { flags } = await openWanting(waiter, "file", 3);
    assert.equal(flags & MAY_NOTIFY_LOCK, MAY_NOTIFY_LOCK);
    assert.equal((await openWanting(holder, "file", 3)).flags & MAY_NOTIFY_LOCK, 0, "no back channel");
    const held = await openFile(holder, "file");
    const wanted = await openFile(waiter, "file");
    const first = await lockFile(holder, held, "one", { type: WRITE, offset: 0, length: 10 });
    const second = await lockFile(holder, held, "two", { type: WRITE, offset: 10, length: 10 });
    assert.deepEqual([first.status, second.status], [Status.OK, Status.OK]);
    const range = { type: WRITE_BLOCKING, offset: 5, length: 10 };
    assert.equal((await lockFile(waiter, wanted, "waits", range)).status, Status.DENIED);
    let calls = 0;
    waiter.connection.callbacks.on("call", () => calls++);
    const unlock = (stateid: Buffer, offset: number): Step => [
      "LOCKU",
      (writer) => {
        writer.uint32(WRITE);
        writer.uint32(0);
        writer.fixed(stateid);
        writer.uint64(offset);
        writer.uint64(10);
      },
    ];
    await holder.call([["PUTFH", handle(held.handle)], unlock(first.stateid, 0)]);
    await waiter.call([]);
    assert.equal(calls, 0, "the second lock is still there");
    const called = once(waiter.connection.callbacks, "call");
    await holder.call([["PUTFH", handle(held.handle)], unlock(second.stateid, 10)]);
    const call = parseCallback(waiter.connection, (await called)[0] as Buffer);
    assert.equal(call.operation, CallbackOperation.NOTIFY_LOCK);
    assert.deepEqual(call.reader.opaque(128), held.handle);
    assert.deepEqual(call.reader.fixed(8), waiter.clientid);
    assert.equal(call.reader.latin1(100), "waits");
    answerCallback(call, Status.OK);
    assert.equal((await lockFile(waiter, wanted, "waits", range)).status, Status.OK);
  });

  it("comes also when the holder closes the file or only reads on, and to those alone that wait", async (t) => {
    const { connect, session: start } = await serve(t);
    const waiter = await TestSession.create(await connect(), "waiter", 1, true);
    const holder = await start("holder");
    const held = await openFile(holder, "file", { create: "unchecked" });
    const wanted = await openFile(waiter, "file");
    const all = { offset: 0, length: 10 };
    await lockFile(holder, held, "one", { type: WRITE, ...all });
    await lockFile(waiter, wanted, "does not wait", { type: WRITE, ...all });
    await lockFile(waiter, wanted, "reads", { type: READ_BLOCKING, ...all });
    await lockFile(waiter, wanted, "writes", { type: WRITE_BLOCKING, ...all });
    const told: string[] = [];
    const hear = async () => {
      const [message] = await once(waiter.connection.callbacks, "call");
      const call = parseCallback(waiter.connection, message as Buffer);
      call.reader.opaque(128);
      call.reader.skip(8);
      told.push(call.reader.latin1(100));
      answerCallback(call, Status.OK);
    };
    const first = hear();
    await lockFile(holder, held, "one", { type: 1, ...all });
    await first;
    const second = hear();
    await holder.call([
      ["PUTFH", handle(held.handle)],
      [
        "CLOSE",
        (writer) => {
          writer.uint32(0);
          writer.fixed(held.stateid);
        },
      ],
    ]);
    await second;
    assert.deepEqual(told, ["reads", "writes"]);
  });

  it("comes when the holder's lease has run out, but not on behalf of one who is silent as well", async (t) => {
    const { server, connect, session: start } = await serve(t);
    const waiter = await TestSession.create(await connect(), "waiter", 1, true);
    const holder = await start("holder");
    const held = await openFile(holder, "file", { create: "unchecked" });
    const wanted = await openFile(waiter, "file");
    const range = { offset: 0, length: 10 };
    await lockFile(holder, held, "holds", { type: WRITE, ...range });
    await lockFile(waiter, wanted, "waits", { type: WRITE_BLOCKING, ...range });
    const { state } = NfsServer.contextOf(server);
    state.sweep();
    assert.equal(state.clients.count, 2);
    const records = [recordOf(server, holder), recordOf(server, waiter)];
    for (const record of records) {
      record.renewedAt -= 2 * state.leaseMilliseconds;
    }
    state.sweep();
    assert.equal(state.clients.count, 2);
    await waiter.call([]);
    const called = once(waiter.connection.callbacks, "call");
    state.sweep();
    assert.equal(state.clients.count, 1);
    const call = parseCallback(waiter.connection, (await called)[0] as Buffer);
    assert.equal(call.operation, CallbackOperation.NOTIFY_LOCK);
    answerCallback(call, Status.OK);
    const locked = await lockFile(waiter, wanted, "waits", { type: WRITE_BLOCKING, ...range });
    assert.equal(locked.status, Status.OK);
  });

  it("does not pile up for a client that does not answer, nor do owners whose locks were denied", async (t) => {
    const { server, connect } = await serve(t);
    const waiter = await TestSession.create(await connect(), "waiter", 1, true);
    const file = await openFile(waiter, "file", { create: "unchecked" });
    let calls = 0;
    const answer = (message: Buffer) => answerCallback(parseCallback(waiter.connection, message), Status.OK);
    waiter.connection.callbacks.on("call", () => calls++);
    const unanswered: Buffer[] = [];
    const collect = (message: Buffer) => unanswered.push(message);
    waiter.connection.callbacks.on("call", collect);
    const notifications = 400;
    const range = { offset: 0, length: 10 };
    for (let count = 0; count < notifications; count++) {
      await lockFile(waiter, file, "holder", { type: WRITE, ...range });
      await lockFile(waiter, file, `waits ${count}`, { type: READ_BLOCKING, ...range });
      await lockFile(waiter, file, "holder", { type: 1, ...range });
    }
    waiter.connection.callbacks.off("call", collect).on("call", answer);
    for (const message of unanswered) {
      answer(message);
    }
    for (let before = -1; before !== calls; ) {
      before = calls;
      await waiter.call([]);
    }
    assert.ok(calls > unanswered.length && calls < notifications, `${calls} calls`);
    assert.deepEqual([...recordOf(server, waiter).lockOwners.keys()], ["holder"]);
  });
});
