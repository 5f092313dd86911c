import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { writeBitmap } from "../../../src/nfs/attributes/bitmap.ts";
import { Gate } from "../../../src/nfs/index.ts";
import { Attribute } from "../../../src/nfs/protocol/attribute.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import type { XdrWriter } from "../../../src/xdr/index.ts";
import { expectResult, handle, name, openFile, type Step, TestConnection, TestSession } from "./client.ts";
import { serve } from "./fixture.ts";

describe("the gate", () => {
  it("leads the client that knows the armed name to the root, and nobody else, whatever handle they have", async (t) => {
    const gate = new Gate({ reservedPortsOnly: false });
    const { session: start } = await serve(t, { gate });
    const friend = await start();
    const stranger = await start();
    const root = await gate.open(async (path) => {
      const { reader, status } = await friend.call([["PUTROOTFH"], ["LOOKUP", name(path)], ["GETFH"]]);
      assert.equal(status, Status.OK);
      expectResult(reader, "PUTROOTFH");
      expectResult(reader, "LOOKUP");
      expectResult(reader, "GETFH");
      return Buffer.from(reader.opaque(128));
    });
    assert.equal((await friend.call([["PUTFH", handle(root)], ["GETFH"]])).status, Status.OK);
    assert.equal((await stranger.call([["PUTFH", handle(root)]])).status, Status.STALE);
    assert.equal((await stranger.call([["PUTROOTFH"]])).status, Status.OK);
    assert.equal((await openFile(stranger, "file", { create: "unchecked" })).status, Status.ROFS);
  });

  it("says of its own root what holds for the file system behind it: that it has extended attributes", async (t) => {
    const { session } = await serve(t, { gate: new Gate({ reservedPortsOnly: false }) });
    const asked = (writer: XdrWriter) => writeBitmap(writer, 0, 0, 1 << (Attribute.XATTR_SUPPORT - 64));
    const { reader } = await (await session()).call([["PUTROOTFH"], ["GETATTR", asked]], { minorVersion: 2 });
    expectResult(reader, "PUTROOTFH");
    expectResult(reader, "GETATTR");
    for (let words = reader.uint32(); words > 0; words--) {
      reader.uint32();
    }
    assert.equal(Buffer.from(reader.opaque(64)).readUInt32BE(), 1);
  });

  it("forgets a name when the mount is done", async (t) => {
    const gate = new Gate({ reservedPortsOnly: false });
    const session = await (await serve(t, { gate })).session();
    const { name: path, disarm } = gate.arm();
    disarm();
    assert.equal((await session.call([["PUTROOTFH"], ["LOOKUP", name(path)]])).status, Status.NOENT);
    assert.match(path, /^[\w-]{43}$/);
  });

  it("takes no connection from an ordinary port, and no NFSv4.0", async (t) => {
    const strict = await serve(t, { gate: new Gate() });
    const refused = await TestConnection.open(strict.port);
    await once(refused.socket, "close");
    const open = await serve(t, { gate: new Gate({ reservedPortsOnly: false }) });
    const old = await (await open.connect()).compound([["PUTROOTFH"]], { minorVersion: 0 });
    assert.equal(old.status, Status.MINOR_VERS_MISMATCH);
  });

  it("lets an admitted session go on over a new connection", async (t) => {
    const gate = new Gate({ reservedPortsOnly: false });
    const { connect } = await serve(t, { gate });
    const session = await TestSession.create(await connect());
    await gate.open(async (path) => session.call([["PUTROOTFH"], ["LOOKUP", name(path)]]));
    session.connection.socket.destroy();
    const second = await connect();
    const { status } = await session.call(
      [["PUTROOTFH"], ["SECINFO_NO_NAME", (writer) => writer.uint32(0)]],
      {
        on: second,
      },
    );
    assert.equal(status, Status.OK);
  });

  it("tells when a client that was admitted is gone, not when a stranger is", async (t) => {
    let lost = 0;
    const gate = new Gate({ reservedPortsOnly: false, onLost: () => lost++ });
    const { session: start } = await serve(t, { gate });
    const friend = await start();
    const stranger = await start();
    await gate.open(async (path) => friend.call([["PUTROOTFH"], ["LOOKUP", name(path)]]));
    for (const { connection, id, clientid } of [stranger, friend]) {
      assert.equal(lost, 0);
      for (const step of [
        ["DESTROY_SESSION", (writer) => writer.fixed(id)],
        ["DESTROY_CLIENTID", (writer) => writer.fixed(clientid)],
      ] satisfies Step[]) {
        assert.equal((await connection.compound([step])).status, Status.OK);
      }
    }
    assert.equal(lost, 1);
  });
});
