import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MemoryFileSystem } from "../../../src/nfs/index.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { encodeCompound, expectResult, name, openFile, parseReply, type Step } from "./client.ts";
import { serve } from "./fixture.ts";
import { read } from "./steps.ts";

const makeDirectory = (directory: string): Step => [
  "CREATE",
  (writer) => {
    writer.uint32(2);
    writer.latin1(directory);
    writer.uint32(0);
    writer.uint32(0);
  },
];

/** A memory file system in which reads wait until they are let go. */
function withBlockedReads() {
  const fileSystem = new MemoryFileSystem({ rootMode: 0o777 });
  const root = { userId: 0, groupId: 0, supplementaryGroupIds: [] };
  const file = fileSystem.root.createFile("slow", root, {});
  const gate = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  file.read = (() => {
    started.resolve();
    return gate.promise.then(() => Buffer.from("late"));
  }) as never;
  return { fileSystem, letGo: gate.resolve, started: started.promise };
}

describe("sessions", () => {
  it("answers a retry from the reply cache, also over another connection, without doing it again", async (t) => {
    const { session: start, connect } = await serve(t);
    const session = await start();
    const steps = [session.sequence(0, true), ["PUTROOTFH"] as Step, makeDirectory("made once")];
    const first = await session.connection.compound(steps);
    assert.equal(first.status, Status.OK);
    const again = await (await connect()).compound(steps);
    assert.deepEqual(again.bytes, first.bytes);
    const other = await session.call([["PUTROOTFH"], makeDirectory("made once")]);
    assert.equal(other.status, Status.EXIST);
  });

  it("tells retries that are none, or come out of order, by their status", async (t) => {
    const session = await (await serve(t)).session();
    const run = async (step: Step, ...rest: Step[]) =>
      (await session.connection.compound([step, ...rest])).status;
    assert.equal(await run(session.sequenceOf(1, 5, true), ["PUTROOTFH"], makeDirectory("a")), Status.OK);
    assert.equal(
      await run(session.sequenceOf(1, 5, true), ["PUTROOTFH"], makeDirectory("b")),
      Status.SEQ_FALSE_RETRY,
    );
    assert.equal(await run(session.sequenceOf(3, 5)), Status.SEQ_MISORDERED);
    assert.equal(await run(session.sequenceOf(2, 5), ["PUTROOTFH"]), Status.OK);
    assert.equal(await run(session.sequenceOf(2, 5), ["PUTROOTFH"]), Status.RETRY_UNCACHED_REP);
    assert.equal(await run(session.sequenceOf(1, 64)), Status.BADSLOT);
    assert.equal(await run(["PUTROOTFH"]), Status.OP_NOT_IN_SESSION);
    assert.equal(await run(session.sequenceOf(3, 5), session.sequenceOf(4, 5)), Status.SEQUENCE_POS);
  });

  it("serves other slots of the connection while one waits for the file system", async (t) => {
    const { fileSystem, letGo, started } = withBlockedReads();
    const session = await (await serve(t, { fileSystem })).session();
    const { stateid } = await openFile(session, "slow", { access: 1 });
    const reading = session.call([["PUTROOTFH"], ["LOOKUP", name("slow")], read(stateid, 0, 100)], {
      slot: 1,
    });
    await started;
    assert.equal((await session.call([["PUTROOTFH"]], { slot: 2 })).status, Status.OK);
    letGo();
    const { reader, status } = await reading;
    assert.equal(status, Status.OK);
    expectResult(reader, "PUTROOTFH");
    expectResult(reader, "LOOKUP");
    expectResult(reader, "READ");
    reader.bool();
    assert.equal(reader.latin1(100), "late");
  });

  it("gives the reply to the connection that asked last when the first one broke", async (t) => {
    const { fileSystem, letGo, started } = withBlockedReads();
    const { session: start, connect } = await serve(t, { fileSystem });
    const session = await start();
    const { stateid } = await openFile(session, "slow", { access: 1 });
    const request = encodeCompound([
      session.sequence(1),
      ["PUTROOTFH"],
      ["LOOKUP", name("slow")],
      read(stateid, 0, 100),
    ]);
    session.connection.send(1000, request);
    await started;
    const second = await connect();
    session.connection.socket.destroy();
    const retried = second.exchange(request, 1000);
    // The retry has been taken in once a request behind it is answered.
    assert.equal((await session.call([["PUTROOTFH"]], { slot: 2, on: second })).status, Status.OK);
    letGo();
    assert.equal(parseReply(await retried).status, Status.OK);
  });

  it("answers NULL, other programs, versions and procedures as RPC says", async (t) => {
    const connection = await (await serve(t)).connect();
    const call = async (...words: number[]) => {
      const message = Buffer.alloc(words.length * 4);
      for (const [index, word] of words.entries()) {
        message.writeUInt32BE(word, index * 4);
      }
      const reply = await connection.exchange(message);
      return Array.from({ length: reply.length / 4 - 1 }, (_, index) => reply.readUInt32BE(4 + index * 4));
    };
    const noAuth = [0, 0, 0, 0];
    assert.deepEqual(await call(0, 2, 100003, 4, 0, ...noAuth), [1, 0, 0, 0, 0]);
    assert.deepEqual(await call(0, 2, 100005, 4, 0, ...noAuth), [1, 0, 0, 0, 1]);
    assert.deepEqual(await call(0, 2, 100003, 3, 0, ...noAuth), [1, 0, 0, 0, 2, 4, 4]);
    assert.deepEqual(await call(0, 2, 100003, 4, 9, ...noAuth), [1, 0, 0, 0, 3]);
    assert.deepEqual(await call(0, 2, 100003, 4, 1, ...noAuth), [1, 0, 0, 0, 4]);
    assert.deepEqual(await call(0, 3, 100003, 4, 0, ...noAuth), [1, 1, 0, 2, 2]);
    assert.deepEqual(await call(0, 2, 100003, 4, 0, 6, 0, 0, 0), [1, 1, 1, 1]);
  });
});
