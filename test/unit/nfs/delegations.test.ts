import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { expectResult, handle, openArguments, openFile, TestSession } from "./client.ts";
import { serve } from "./fixture.ts";

const READ_WANTED = 1 | 0x100;
const CB_RECALL = 4;
/** From the xid on: the RPC header with AUTH_NONE, CB_COMPOUND4args before the operations, CB_SEQUENCE. */
const RECALL_AT = 40 + 16 + 40;

async function holdDelegation(holder: TestSession): Promise<{ file: Buffer; stateid: Buffer }> {
  await openFile(holder, "file", { create: "unchecked", access: 1 | 0x400 });
  const { reader, status } = await holder.call([
    ["PUTROOTFH"],
    ["OPEN", openArguments(holder.clientid, "file", { access: READ_WANTED })],
    ["GETFH"],
  ]);
  assert.equal(status, Status.OK);
  expectResult(reader, "PUTROOTFH");
  expectResult(reader, "OPEN");
  reader.skip(16 + 20 + 4);
  reader.skip(4 * reader.length(3));
  assert.equal(reader.uint32(), 1, "a READ delegation");
  const stateid = Buffer.from(reader.fixed(16));
  reader.skip(4 + 12);
  reader.latin1(100);
  expectResult(reader, "GETFH");
  return { stateid, file: Buffer.from(reader.opaque(128)) };
}

describe("delegations", () => {
  it("are called back when another client opens for writing, which waits until they are returned", async (t) => {
    const { connect, session: start } = await serve(t, { delegations: true });
    const holder = await TestSession.create(await connect(), "holder", 1, true);
    const { stateid, file } = await holdDelegation(holder);
    const other = await start("other");
    const recalled = once(holder.connection.callbacks, "call");
    assert.equal((await openFile(other, "file", { access: 2 })).status, Status.DELAY);
    const [call] = (await recalled) as [Buffer];
    assert.equal(call.readUInt32BE(RECALL_AT), CB_RECALL);
    assert.deepEqual(call.subarray(RECALL_AT + 4, RECALL_AT + 20), stateid);
    const returned = await holder.call([
      ["PUTFH", handle(file)],
      ["DELEGRETURN", (writer) => writer.fixed(stateid)],
    ]);
    assert.equal(returned.status, Status.OK);
    assert.equal((await openFile(other, "file", { access: 2 })).status, Status.OK);
  });

  it("stand in nobody's way for reading, nor in their holder's", async (t) => {
    const { connect, session: start } = await serve(t, { delegations: true });
    const holder = await TestSession.create(await connect(), "holder", 1, true);
    await holdDelegation(holder);
    assert.equal((await openFile(await start("other"), "file", { access: 1 })).status, Status.OK);
    assert.equal((await openFile(holder, "file", { access: 2 })).status, Status.OK);
  });
});
