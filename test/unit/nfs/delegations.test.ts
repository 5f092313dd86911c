import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { Claim } from "../../../src/nfs/protocol/constants.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { expectResult, handle, openFile, type Step, TestSession } from "./client.ts";
import { DelegationType, openDelegated, openWanting, readDelegation } from "./delegation.ts";
import { type Fixture, recordOf, serve } from "./fixture.ts";
import { ANONYMOUS, read } from "./steps.ts";

const READ_WANTED = 1 | 0x100;
const CB_RECALL = 4;
/** From the xid on: the RPC header with AUTH_NONE, CB_COMPOUND4args before the operations, CB_SEQUENCE. */
const RECALL_AT = 40 + 16 + 40;

async function holdDelegation(holder: TestSession): Promise<{ file: Buffer; stateid: Buffer }> {
  await openFile(holder, "file", { create: "unchecked", access: 1 | 0x400 });
  return openDelegated(holder, "file", READ_WANTED);
}

describe("delegations", () => {
  it("are called back when another client opens for writing, which waits until they are returned", async (t) => {
    const { server, connect, session: start } = await serve(t, { delegations: true });
    const holder = await TestSession.create(await connect(), "holder", 1, true);
    const { stateid, file } = await holdDelegation(holder);
    const other = await start("other");
    const recalled = once(holder.connection.callbacks, "call");
    assert.equal((await openFile(other, "file", { access: 2 })).status, Status.DELAY);
    assert.equal(recordOf(server, other).openOwners.size, 0, "an owner without an open");
    const [call] = (await recalled) as [Buffer];
    assert.equal(call.readUInt32BE(RECALL_AT), CB_RECALL);
    assert.deepEqual(call.subarray(RECALL_AT + 4, RECALL_AT + 20), stateid);
    const giveBack: Step = ["DELEGRETURN", (writer) => writer.fixed(stateid)];
    assert.equal((await holder.call([["PUTROOTFH"], giveBack])).status, Status.BAD_STATEID);
    assert.equal((await holder.call([["PUTFH", handle(file)], giveBack])).status, Status.OK);
    assert.equal((await openFile(other, "file", { access: 2 })).status, Status.OK);
  });

  it("for writing are called back when another client reads without an open", async (t) => {
    const { connect, session: start } = await serve(t, { delegations: true });
    const holder = await TestSession.create(await connect(), "holder", 1, true);
    await openFile(holder, "file", { create: "unchecked", access: 1 | 0x400 });
    const { file } = await openDelegated(holder, "file", 3 | 0x200);
    const readByte = async (session: TestSession) =>
      (await session.call([["PUTFH", handle(file)], read(ANONYMOUS, 0, 1)])).status;
    assert.equal(await readByte(holder), Status.OK);
    assert.equal(await readByte(await start("other")), Status.DELAY);
  });

  it("become opens while they are called back, but only for their holder", async (t) => {
    const { connect, session: start } = await serve(t, { delegations: true });
    const holder = await TestSession.create(await connect(), "holder", 1, true);
    const { stateid, file } = await holdDelegation(holder);
    const other = await start("other");
    assert.equal((await openFile(other, "file", { access: 2 })).status, Status.DELAY);
    const claim = async (session: TestSession, type: number, id: Buffer, place: Step) => {
      const { status } = await session.call([
        place,
        [
          "OPEN",
          (writer) => {
            writer.uint32(0);
            writer.uint32(1);
            writer.uint32(0);
            writer.fixed(session.clientid);
            writer.latin1("another owner");
            writer.uint32(0);
            writer.uint32(type);
            writer.fixed(id);
            if (type < 4) {
              writer.latin1("file");
            }
          },
        ],
      ]);
      return status;
    };
    const byHandle: Step = ["PUTFH", handle(file)];
    assert.equal(await claim(holder, Claim.DELEGATE_CURRENT, stateid, ["PUTROOTFH"]), Status.OK);
    assert.equal(await claim(holder, Claim.DELEGATE_CURRENT_FH, stateid, byHandle), Status.OK);
    assert.equal(await claim(other, Claim.DELEGATE_CURRENT_FH, stateid, byHandle), Status.BAD_STATEID);
    const none = Buffer.alloc(0);
    assert.equal(await claim(holder, Claim.DELEGATE_PREVIOUS, none, ["PUTROOTFH"]), Status.NOTSUPP);
    assert.equal(await claim(holder, Claim.DELEGATE_PREVIOUS_FH, none, byHandle), Status.NOTSUPP);
    const purged = await holder.call([["DELEGPURGE", (writer) => writer.fixed(holder.clientid)]]);
    assert.equal(purged.status, Status.NOTSUPP);
  });

  it("stand in nobody's way for reading, nor in their holder's", async (t) => {
    const { connect, session: start } = await serve(t, { delegations: true });
    const holder = await TestSession.create(await connect(), "holder", 1, true);
    await holdDelegation(holder);
    assert.equal((await openFile(await start("other"), "file", { access: 1 })).status, Status.OK);
    assert.equal((await openFile(holder, "file", { access: 2 })).status, Status.OK);
  });
});

describe("the wants of an OPEN", () => {
  const READ = 1;
  const BOTH = 3;
  const Why = { NOT_WANTED: 0, CONTENTION: 1, RESOURCE: 2, UPGRADE: 5, DOWNGRADE: 6, CANCELLED: 7 };
  const NO_PREFERENCE = 0;
  const WANT_READ = 0x100;
  const WANT_WRITE = 0x200;
  const WANT_ANY = 0x300;
  const WANT_NONE = 0x400;
  const CANCEL = 0x500;
  const SIGNAL = 0x1_0000;
  const PUSH = 0x2_0000;

  async function client({ connect }: Fixture, backChannel = true) {
    const session = await TestSession.create(await connect(), `client ${Math.random()}`, 1, backChannel);
    await openFile(session, "file", { create: "unchecked", owner: "creator", access: READ | WANT_NONE });
    return session;
  }

  it("lead to the delegation that was asked for", async (t) => {
    for (const [access, want, type] of [
      [READ, NO_PREFERENCE, DelegationType.READ],
      [READ, WANT_READ, DelegationType.READ],
      [READ, WANT_WRITE, DelegationType.READ],
      [READ, WANT_ANY | SIGNAL | PUSH, DelegationType.READ],
      [BOTH, NO_PREFERENCE, DelegationType.NONE],
      [BOTH, WANT_READ, DelegationType.READ],
      [BOTH, WANT_WRITE, DelegationType.WRITE],
      [BOTH, WANT_ANY, DelegationType.WRITE],
    ] as const) {
      const session = await client(await serve(t, { delegations: true }));
      const opened = await openWanting(session, "file", access | want);
      assert.equal(opened.type, type, `access ${access}, want ${want.toString(16)}`);
    }
  });

  it("are answered by the reason where there is no delegation", async (t) => {
    const fixture = await serve(t, { delegations: true });
    const session = await client(fixture);
    const why = async (asking: TestSession, wants: number) => {
      const opened = await openWanting(asking, "file", wants);
      assert.equal(opened.type, DelegationType.NONE_EXT);
      return opened.why;
    };
    assert.equal(await why(session, READ | WANT_NONE), Why.NOT_WANTED);
    assert.equal(await why(session, READ | CANCEL), Why.CANCELLED);
    assert.equal(await why(await client(fixture, false), READ | WANT_READ), Why.RESOURCE);
    await openDelegated(session, "file", READ | WANT_READ);
    assert.equal(await why(session, READ | WANT_READ | PUSH), Why.RESOURCE, "it has it already");
    assert.equal(await why(session, BOTH | WANT_WRITE), Why.UPGRADE);
    assert.equal(await why(await client(fixture), READ | WANT_READ), Why.CONTENTION, "the other writes");
    const second = await client(await serve(t, { delegations: true }));
    await openDelegated(second, "file", BOTH | WANT_WRITE);
    assert.equal(await why(second, READ | WANT_READ), Why.DOWNGRADE);
  });

  it("give who wants any the one for reading when others read", async (t) => {
    const fixture = await serve(t, { delegations: true });
    const session = await client(fixture);
    await client(fixture);
    assert.equal((await openDelegated(session, "file", BOTH | WANT_ANY)).type, DelegationType.READ);
  });

  it("can come without an OPEN, by WANT_DELEGATION", async (t) => {
    const fixture = await serve(t, { delegations: true });
    const other = await fixture.session("other");
    const session = await TestSession.create(await fixture.connect(), "session", 1, true);
    const denying = await openFile(other, "file", { create: "unchecked", access: READ, deny: READ });
    const file = denying.handle;
    const ask = async (want: number, claim = 4, userId = 0) => {
      const { reader, status } = await session.call(
        [
          ["PUTFH", handle(file)],
          [
            "WANT_DELEGATION",
            (writer) => {
              writer.uint32(want);
              writer.uint32(claim);
              if (claim === 1) {
                writer.uint32(1);
              }
            },
          ],
        ],
        { userId },
      );
      if (status !== Status.OK) {
        return { status, type: 0, why: 0 };
      }
      expectResult(reader, "PUTFH");
      expectResult(reader, "WANT_DELEGATION");
      const { type, why } = readDelegation(reader);
      return { status, type, why };
    };
    const refused = { type: 0, why: 0 };
    assert.deepEqual(await ask(WANT_NONE), { ...refused, status: Status.INVAL });
    assert.deepEqual(await ask(NO_PREFERENCE), { ...refused, status: Status.INVAL });
    assert.deepEqual(await ask(WANT_READ, 1), { ...refused, status: Status.NO_GRACE });
    assert.deepEqual(await ask(WANT_READ, 6), { ...refused, status: Status.NOTSUPP });
    assert.deepEqual(await ask(WANT_WRITE, 4, 1000), { ...refused, status: Status.ACCESS });
    assert.deepEqual(await ask(WANT_READ), {
      status: Status.OK,
      type: DelegationType.NONE_EXT,
      why: Why.CONTENTION,
    });
    await other.call([
      ["PUTFH", handle(file)],
      [
        "CLOSE",
        (writer) => {
          writer.uint32(0);
          writer.fixed(denying.stateid);
        },
      ],
    ]);
    assert.deepEqual(await ask(WANT_WRITE), { status: Status.OK, type: DelegationType.WRITE, why: 0 });
    assert.deepEqual(await ask(WANT_READ), {
      status: Status.OK,
      type: DelegationType.NONE_EXT,
      why: Why.DOWNGRADE,
    });
  });
});
