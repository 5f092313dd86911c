import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it, type TestContext } from "node:test";
import { Claim } from "../../../src/nfs/protocol/constants.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import type { Tree } from "../vfs/fake-input-source.ts";
import { makeFixture } from "../vfs/tree-fixture.ts";
import { expectResult, handle, name, openArguments, type Step, TestSession } from "./client.ts";
import { serve } from "./fixture.ts";

const READ_DELEGATION = 1;
const NO_DELEGATION = 0;
const NO_DELEGATION_WANTED = 1 | 0x400;
const CB_RECALL = 4;
/** From the xid on: the RPC header with AUTH_NONE, CB_COMPOUND4args before the operations, CB_SEQUENCE. */
const RECALL_AT = 40 + 16 + 40;

const TO_ROOT: Step[] = [["PUTROOTFH"], ["LOOKUP", name("action")], ["LOOKUP", name("root")]];

const PAIRS = { one: "content", two: "content", three: "another", four: "another" };

/** Clients of a tree with these input files. */
async function serveInputs(t: TestContext, inputs: Tree = PAIRS) {
  const { tree } = await makeFixture(inputs, { build: { owner: { userId: 0, groupId: 0 } } });
  const { connect } = await serve(t, { fileSystem: tree, delegations: true });
  return async (owner: string) => TestSession.create(await connect(), owner, 1, true);
}

async function openForReading(session: TestSession, file: string, access = 1) {
  const { reader, status } = await session.call([
    ...TO_ROOT,
    ["OPEN", openArguments(session.clientid, file, { access })],
    ["GETFH"],
  ]);
  assert.equal(status, Status.OK);
  for (const [operation] of TO_ROOT) {
    expectResult(reader, operation);
  }
  expectResult(reader, "OPEN");
  const open = Buffer.from(reader.fixed(16));
  reader.skip(20 + 4);
  reader.skip(4 * reader.length(3));
  const type = reader.uint32();
  let stateid = Buffer.alloc(0);
  if (type === READ_DELEGATION) {
    stateid = Buffer.from(reader.fixed(16));
    reader.skip(4 + 12);
    reader.latin1(100);
  } else if (type !== NO_DELEGATION) {
    reader.uint32();
  }
  expectResult(reader, "GETFH");
  return { type, stateid, open, file: Buffer.from(reader.opaque(128)) };
}

async function openForWriting(session: TestSession, file: string): Promise<number> {
  const { status } = await session.call([
    ...TO_ROOT,
    ["OPEN", openArguments(session.clientid, file, { access: 2 })],
  ]);
  return status;
}

async function changeMode(session: TestSession, file: Buffer, userId = 0): Promise<number> {
  const { status } = await session.call(
    [
      ["PUTFH", handle(file)],
      [
        "SETATTR",
        (writer) => {
          writer.fixed(Buffer.alloc(16));
          for (const word of [2, 0, 2, 4, 0o700]) {
            writer.uint32(word);
          }
        },
      ],
    ],
    { userId },
  );
  return status;
}

async function openByHandle(session: TestSession, file: Buffer, userId: number): Promise<number> {
  const { status } = await session.call(
    [
      ["PUTFH", handle(file)],
      [
        "OPEN",
        (writer) => {
          for (const word of [0, 2, 0]) {
            writer.uint32(word);
          }
          writer.fixed(session.clientid);
          writer.latin1("owner");
          writer.uint32(0);
          writer.uint32(Claim.FH);
        },
      ],
    ],
    { userId },
  );
  return status;
}

/** In a slot of its own where the first one waits. */
async function giveBack(session: TestSession, file: Buffer, stateid: Buffer, slot = 0): Promise<void> {
  const { status } = await session.call(
    [
      ["PUTFH", handle(file)],
      ["DELEGRETURN", (writer) => writer.fixed(stateid)],
    ],
    { slot },
  );
  assert.equal(status, Status.OK);
}

describe("an immutable file", () => {
  const inputs = { only: "content", dir: {} };

  async function attributesOf(session: TestSession, file: Buffer) {
    const { status, reader } = await session.call([
      ["PUTFH", handle(file)],
      [
        "GETATTR",
        (writer) => {
          for (const word of [2, 0, (1 << 1) | (1 << 3)]) {
            writer.uint32(word);
          }
        },
      ],
    ]);
    assert.equal(status, Status.OK);
    expectResult(reader, "PUTFH");
    expectResult(reader, "GETATTR");
    reader.skip(12 + 4);
    return { mode: reader.uint32(), linkCount: reader.uint32() };
  }

  it("that is open, and known under no other name, is changed under its handle", async (t) => {
    const session = await (await serveInputs(t, inputs))("holder");
    const { file, open } = await openForReading(session, "only", NO_DELEGATION_WANTED);
    assert.deepEqual(await attributesOf(session, file), { mode: 0o444, linkCount: 9999 });
    assert.equal(await changeMode(session, file), Status.OK);
    assert.deepEqual(await attributesOf(session, file), { mode: 0o700, linkCount: 1 });
    assert.deepEqual((await openForReading(session, "only", NO_DELEGATION_WANTED)).file, file);
    const link: Step[] = [["PUTFH", handle(file)], ["SAVEFH"], ...TO_ROOT, ["LINK", name("linked")]];
    assert.equal((await session.call(link)).status, Status.OK);
    for (const linked of ["linked", "only"]) {
      assert.equal((await session.call([...TO_ROOT, ["REMOVE", name(linked)]])).status, Status.OK);
    }
    // It stays as long as it is open.
    assert.deepEqual(await attributesOf(session, file), { mode: 0o700, linkCount: 0 });
    const close: Step[] = [
      ["PUTFH", handle(file)],
      [
        "CLOSE",
        (writer) => {
          writer.uint32(0);
          writer.fixed(open);
        },
      ],
    ];
    open.writeUInt32BE(0);
    assert.equal((await session.call(close)).status, Status.OK);
    assert.equal((await session.call([["PUTFH", handle(file)]])).status, Status.STALE);
  });

  it("that is not open is changed under another handle", async (t) => {
    const session = await (await serveInputs(t, inputs))("holder");
    const { reader } = await session.call([...TO_ROOT, ["LOOKUP", name("only")], ["GETFH"]]);
    for (const [operation] of [...TO_ROOT, ["LOOKUP"] as const]) {
      expectResult(reader, operation);
    }
    expectResult(reader, "GETFH");
    const file = Buffer.from(reader.opaque(128));
    assert.equal(await changeMode(session, file), Status.STALE);
    assert.notDeepEqual((await openForReading(session, "only")).file, file);
  });
});

describe("delegations of immutable files", () => {
  it("are given to every client that does not refuse them", async (t) => {
    const client = await serveInputs(t);
    const first = await client("first");
    assert.equal((await openForReading(first, "one", NO_DELEGATION_WANTED)).type, 3);
    assert.equal((await openForReading(first, "one")).type, READ_DELEGATION);
    assert.equal((await openForReading(await client("second"), "one")).type, READ_DELEGATION);
  });

  it("stay when their holder takes a name from the file, or opens it for writing", async (t) => {
    const client = await serveInputs(t);
    const holder = await client("holder");
    const { file, stateid } = await openForReading(holder, "one");
    assert.equal((await holder.call([...TO_ROOT, ["REMOVE", name("one")]])).status, Status.OK);
    assert.equal(await openForWriting(holder, "two"), Status.OK);
    await giveBack(holder, file, stateid);
  });

  it("are recalled before something else can stand there for another client", async (t) => {
    const client = await serveInputs(t);
    const other = await client("other");
    const changes = [
      ["two", () => other.call([...TO_ROOT, ["REMOVE", name("one")]]).then(({ status }) => status)],
      ["four", () => openForWriting(other, "three")],
    ] as const;
    for (const [held, change] of changes) {
      const holder = await client(`holder of ${held}`);
      const { file, stateid } = await openForReading(holder, held);
      const called = once(holder.connection.callbacks, "call");
      assert.equal(await change(), Status.DELAY, held);
      await called;
      await giveBack(holder, file, stateid);
      assert.equal(await change(), Status.OK, held);
    }
  });

  it("are recalled, their own holder's too, before a change by handle is refused", async (t) => {
    const client = await serveInputs(t);
    const holders = [await client("first"), await client("second")] as const;
    const held = await Promise.all(holders.map((holder) => openForReading(holder, "one")));
    const calls = Promise.all(holders.map((holder) => once(holder.connection.callbacks, "call")));
    const { file } = held[0]!;
    assert.equal(await changeMode(holders[0], file), Status.DELAY);
    for (const [call] of (await calls) as [Buffer][]) {
      assert.equal(call.readUInt32BE(RECALL_AT), CB_RECALL);
    }
    await giveBack(holders[1], file, held[1]!.stateid);
    // Its own client's: the answer waits for that.
    let answer: number | undefined;
    const answered = changeMode(holders[0], file).then((status) => {
      answer = status;
    });
    assert.equal((await openForReading(holders[1], "one")).type, NO_DELEGATION);
    assert.equal(answer, undefined);
    await giveBack(holders[0], file, held[0]!.stateid, 1);
    await answered;
    assert.equal(answer, Status.STALE);

    const privateCopy = (await openForReading(holders[0], "one")).file;
    assert.notDeepEqual(privateCopy, file);
    assert.equal(await changeMode(holders[0], privateCopy), Status.OK);
  });

  it("stay when who wants to change the file may not", async (t) => {
    const client = await serveInputs(t);
    const holder = await client("holder");
    const { file, stateid } = await openForReading(holder, "one");
    assert.equal(await changeMode(holder, file, 1000), Status.PERM);
    assert.equal(await openByHandle(holder, file, 1000), Status.ACCESS);
    await giveBack(holder, file, stateid);
    assert.equal((await openForReading(holder, "two")).type, READ_DELEGATION, "it was not recalled");
  });

  it("are not given again soon after", async (t) => {
    const client = await serveInputs(t);
    const holder = await client("holder");
    const { file, stateid } = await openForReading(holder, "one");
    const change = changeMode(holder, file);
    await giveBack(holder, file, stateid, 1);
    assert.equal(await change, Status.STALE);
    assert.equal((await openForReading(holder, "two")).type, NO_DELEGATION);
  });

  it("that their holder does not return in time have it ask again", async (t) => {
    const client = await serveInputs(t);
    const holder = await client("holder");
    const { file, stateid } = await openForReading(holder, "one");
    assert.equal(await changeMode(holder, file), Status.DELAY);
    await giveBack(holder, file, stateid);
    assert.equal(await changeMode(holder, file), Status.STALE);
  });
});
