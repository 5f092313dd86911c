/** What single operations answer to arguments that are wrong, or not for everybody. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MemoryFileSystem } from "../../../src/nfs/index.ts";
import { DEFAULT_LIMITS } from "../../../src/nfs/limits.ts";
import { Attribute } from "../../../src/nfs/protocol/attribute.ts";
import { MAXIMUM_IO } from "../../../src/nfs/protocol/constants.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { ServerState } from "../../../src/nfs/state/server-state.ts";
import type { XdrWriter } from "../../../src/xdr/index.ts";
import {
  createSessionArguments,
  exchangeIdArguments,
  expectResult,
  handle,
  name,
  openFile,
  type Step,
  type TestConnection,
  type TestSession,
} from "./client.ts";
import { serve } from "./fixture.ts";
import { read, write } from "./steps.ts";

const ROOT = { userId: 0, groupId: 0, supplementaryGroupIds: [] };
const USER = 1000;
const OTHER_USER = 2000;

const words =
  (...values: number[]) =>
  (writer: XdrWriter) => {
    for (const value of values) {
      writer.uint32(value);
    }
  };
const rename = (from: string, to: string): Step => [
  "RENAME",
  (writer) => {
    writer.latin1(from);
    writer.latin1(to);
  },
];
const setMode = (mode: number, stateid = Buffer.alloc(16)): Step => [
  "SETATTR",
  (writer) => {
    writer.fixed(stateid);
    words(2, 0, 1 << (Attribute.MODE - 32), 4, mode)(writer);
  },
];
const symlink = (link: string, target: string): Step => [
  "CREATE",
  (writer) => {
    writer.uint32(5);
    writer.latin1(target);
    writer.latin1(link);
    words(0, 0)(writer);
  },
];
const copy = (stateid: Buffer, from: number, to: number, count: number): Step => [
  "COPY",
  (writer) => {
    writer.fixed(stateid);
    writer.fixed(stateid);
    for (const value of [from, to, count]) {
      writer.uint64(value);
    }
    words(1, 1, 0)(writer);
  },
];

async function start(t: Parameters<typeof serve>[0]) {
  const fileSystem = new MemoryFileSystem({ rootMode: 0o777 });
  const fixture = await serve(t, { fileSystem });
  const session = await fixture.session();
  const file = await openFile(session, "file", { create: "unchecked" });
  const run = async (steps: Step[], userId = 0) =>
    (await session.call([["PUTFH", handle(file.handle)], ...steps], { minorVersion: 2, userId })).status;
  const inRoot = async (steps: Step[], userId = 0) =>
    (await session.call([["PUTROOTFH"], ["SAVEFH"], ...steps], { minorVersion: 2, userId })).status;
  return { ...fixture, fileSystem, session, file, run, inRoot };
}

describe("operations on files", () => {
  it("write no more at once than maxwrite", async (t) => {
    // NFSv4.0 has no sessions, whose limit on requests would come first.
    const { file, connect } = await start(t);
    const connection = await connect();
    const unsequenced = await connection.compound(
      [["PUTFH", handle(file.handle)], write(Buffer.alloc(16), 0, Buffer.alloc(MAXIMUM_IO + 4))],
      { minorVersion: 0 },
    );
    assert.equal(unsequenced.status, Status.INVAL);
  });

  it("are for those whom the mode allows it, and as the file was opened", async (t) => {
    const { fileSystem, session, file, run } = await start(t);
    const node = fileSystem.root.lookup("file")!;
    node.setAttributes({ mode: 0o644, userId: USER });
    const anonymous = Buffer.alloc(16);
    assert.equal(await run([write(anonymous, 0, Buffer.from("x"))], OTHER_USER), Status.ACCESS);
    assert.equal(await run([write(anonymous, 0, Buffer.from("x"))], USER), Status.OK);
    const reading = await openFile(session, "file", { access: 1, owner: "reader" });
    assert.equal(await run([write(reading.stateid, 0, Buffer.from("x"))]), Status.OPENMODE);
    assert.equal(await run([write(file.stateid, 0, Buffer.from("x"))]), Status.OK);
    assert.equal(await run([setMode(0o600)], OTHER_USER), Status.PERM);
    assert.equal(await run([setMode(0o600)], USER), Status.OK);
    assert.equal(await run([setMode(0o10000)]), Status.INVAL);
  });

  it("copy only what there is", async (t) => {
    const { fileSystem, file, run } = await start(t);
    fileSystem.root.lookup("file")!.setAttributes({ size: 100 });
    assert.equal(await run([["SAVEFH"], copy(file.stateid, 101, 200, 0)]), Status.INVAL);
    assert.equal(await run([["SAVEFH"], copy(file.stateid, 50, 200, 51)]), Status.INVAL);
    assert.equal(await run([["SAVEFH"], copy(file.stateid, 50, 200, 0)]), Status.OK);
    assert.equal((fileSystem.root.lookup("file")!.attributes() as { size: number }).size, 250);
  });

  it("seek data and holes and nothing else", async (t) => {
    const { fileSystem, file, run } = await start(t);
    fileSystem.root.lookup("file")!.setAttributes({ size: 100 });
    const seek = (what: number): Step => [
      "SEEK",
      (writer) => {
        writer.fixed(file.stateid);
        writer.uint64(0);
        writer.uint32(what);
      },
    ];
    assert.equal(await run([seek(1)]), Status.OK);
    assert.equal(await run([seek(2)]), Status.UNION_NOTSUPP);
  });

  it("test locks of ranges that make sense", async (t) => {
    const { session, run } = await start(t);
    const test = (length: number): Step => [
      "LOCKT",
      (writer) => {
        writer.uint32(1);
        writer.uint64(0);
        writer.uint64(length);
        writer.fixed(session.clientid);
        writer.latin1("owner");
      },
    ];
    assert.equal(await run([test(1)]), Status.OK);
    assert.equal(await run([test(0)]), Status.INVAL);
  });

  it("know a stateid of before and one that never was", async (t) => {
    const { session, file, run } = await start(t);
    await openFile(session, "file", { access: 1 });
    const before = Buffer.from(file.stateid);
    assert.equal(await run([write(before, 0, Buffer.from("x"))]), Status.OLD_STATEID);
    const later = Buffer.from(file.stateid);
    later.writeUInt32BE(9, 0);
    assert.equal(await run([write(later, 0, Buffer.from("x"))]), Status.BAD_STATEID);
    const foreign = Buffer.from(file.stateid);
    foreign.writeUInt32BE(foreign.readUInt32BE(12) + 1, 12);
    assert.equal(await run([write(foreign, 0, Buffer.from("x"))]), Status.BAD_STATEID);
  });

  it("go back by OPEN_DOWNGRADE to what was asked for, and no other way", async (t) => {
    const { session, file, run } = await start(t);
    const downgrade = (seqid: number, access: number): Step => [
      "OPEN_DOWNGRADE",
      (writer) => {
        const stateid = Buffer.from(file.stateid);
        stateid.writeUInt32BE(seqid, 0);
        writer.fixed(stateid);
        words(0, access, 0)(writer);
      },
    ];
    assert.equal(await run([downgrade(1, 1)]), Status.INVAL);
    await openFile(session, "file", { access: 1 });
    assert.equal(await run([downgrade(2, 1)]), Status.OK);
    assert.equal(await run([downgrade(3, 3)]), Status.INVAL);
  });

  it("compare only attributes that there are", async (t) => {
    const { run } = await start(t);
    // Attribute 12, acl.
    const verify: Step = ["VERIFY", words(1, 1 << 12, 4, 0)];
    assert.equal(await run([verify]), Status.ATTRNOTSUPP);
  });

  it("take extended attributes of up to 64 KiB, and say that there are some", async (t) => {
    const { session, file, run } = await start(t);
    const set = (length: number): Step => [
      "SETXATTR",
      (writer) => {
        writer.uint32(0);
        writer.latin1("attribute");
        writer.opaque(Buffer.alloc(length));
      },
    ];
    assert.equal(await run([set(64 * 1024)]), Status.OK);
    assert.equal(await run([set(64 * 1024 + 1)]), Status.XATTR2BIG);
    const supported: Step = ["GETATTR", words(3, 0, 0, 1 << (Attribute.XATTR_SUPPORT - 64))];
    const { reader } = await session.call([["PUTFH", handle(file.handle)], supported], { minorVersion: 2 });
    expectResult(reader, "PUTFH");
    expectResult(reader, "GETATTR");
    reader.skip(20);
    assert.equal(reader.bool(), true);
  });
});

describe("operations on directories", () => {
  it("name what is not there", async (t) => {
    const { inRoot } = await start(t);
    assert.equal(await inRoot([["REMOVE", name("nothing")]]), Status.NOENT);
    assert.equal(await inRoot([rename("nothing", "other")]), Status.NOENT);
    assert.equal(await inRoot([["LOOKUP", name("nothing")]]), Status.NOENT);
  });

  it("change only what the caller may write to", async (t) => {
    const { fileSystem, session, inRoot } = await start(t);
    const owned = fileSystem.root.createDirectory("owned", ROOT, { mode: 0o755 });
    owned.createFile("inside", ROOT, {});
    const from = async (directory: string, userId: number) => {
      const steps: Step[] = [["PUTROOTFH"], ["LOOKUP", name(directory)], ["SAVEFH"], ["PUTROOTFH"]];
      return (await session.call([...steps, rename("inside", "outside")], { userId })).status;
    };
    assert.equal(await from("owned", USER), Status.ACCESS);
    assert.equal(
      await inRoot(
        [
          ["LOOKUP", name("owned")],
          ["REMOVE", name("inside")],
        ],
        USER,
      ),
      Status.ACCESS,
    );
    assert.equal(await from("owned", 0), Status.OK);
  });

  it("make symbolic links to something, and no hard links to directories", async (t) => {
    const { inRoot, fileSystem } = await start(t);
    assert.equal(await inRoot([symlink("link", "")]), Status.INVAL);
    assert.equal(await inRoot([symlink("link", "a\0b")]), Status.INVAL);
    assert.equal(await inRoot([symlink("link", "a")]), Status.OK);
    fileSystem.root.createDirectory("directory", ROOT, {});
    const linked: Step[] = [
      ["LOOKUP", name("directory")],
      ["SAVEFH"],
      ["PUTROOTFH"],
      ["LINK", name("again")],
    ];
    assert.equal(await inRoot(linked), Status.ISDIR);
  });

  it("list with the verifier that they gave, which is 0", async (t) => {
    const { inRoot } = await start(t);
    assert.equal(await inRoot([["READDIR", words(0, 0, 0, 0, 4096, 4096, 0)]]), Status.OK);
    assert.equal(await inRoot([["READDIR", words(0, 0, 0, 1, 4096, 4096, 0)]]), Status.NOT_SAME);
    assert.equal(await inRoot([["READDIR", words(0, 1, 0, 0, 4096, 4096, 0)]]), Status.BAD_COOKIE);
  });
});

describe("client records", () => {
  async function exchange(connection: TestConnection, verifier: number, flags: number): Promise<number> {
    const update: Step = [
      "EXCHANGE_ID",
      (writer) => {
        writer.uint64(verifier);
        writer.latin1("client");
        words(flags, 0, 0)(writer);
      },
    ];
    return (await connection.compound([update])).status;
  }

  it("are updated only by who has made them", async (t) => {
    const { connect, session: make } = await serve(t);
    const connection = await connect();
    const update = 0x4000_0000;
    assert.equal(await exchange(connection, 1, update), Status.NOENT);
    await make("client");
    assert.equal(await exchange(connection, 1, update), Status.OK);
    assert.equal(await exchange(connection, 2, update), Status.NOT_SAME);
  });

  it("make sessions in the order of their sequence", async (t) => {
    const { connect } = await serve(t);
    const connection = await connect();
    const { reader } = await connection.compound([["EXCHANGE_ID", exchangeIdArguments("client", 1)]]);
    expectResult(reader, "EXCHANGE_ID");
    const clientid = Buffer.from(reader.fixed(8));
    const sequence = reader.uint32();
    const create = async (number: number) =>
      (await connection.compound([["CREATE_SESSION", createSessionArguments(clientid, number)]])).status;
    assert.equal(await create(sequence + 1), Status.SEQ_MISORDERED);
    assert.equal(await create(sequence), Status.OK);
    assert.equal(await create(sequence), Status.OK);
    assert.equal(await create(sequence + 2), Status.SEQ_MISORDERED);
  });

  it("of NFSv4.0 are confirmed by the user who made them", async (t) => {
    const { connect } = await serve(t);
    const connection = await connect();
    const set: Step = [
      "SETCLIENTID",
      (writer) => {
        writer.uint64(1);
        writer.latin1("client");
        writer.uint32(0);
        writer.latin1("tcp");
        writer.latin1("127.0.0.1.0.0");
        writer.uint32(0);
      },
    ];
    const { reader } = await connection.compound([set], { minorVersion: 0, userId: USER });
    expectResult(reader, "SETCLIENTID");
    const given = Buffer.from(reader.fixed(16));
    const confirm: Step = ["SETCLIENTID_CONFIRM", (writer) => writer.fixed(given)];
    const by = async (userId: number) =>
      (await connection.compound([confirm], { minorVersion: 0, userId })).status;
    assert.equal(await by(OTHER_USER), Status.CLID_INUSE);
    assert.equal(await by(USER), Status.OK);
  });

  it("without state end after a lease time, those with state later", () => {
    const state = new ServerState(10, DEFAULT_LIMITS);
    state.now = 0;
    const [idle, holder] = ["idle", "holder"].map(
      (owner) =>
        state.clients.add({
          minorVersion: 1,
          owner: owner,
          verifierHigh: 0,
          verifierLow: 0,
          principal: "sys:0",
        })!,
    );
    for (const client of [idle!, holder!]) {
      state.clients.confirm(client);
    }
    state.clients.add({
      minorVersion: 1,
      owner: "unconfirmed",
      verifierHigh: 0,
      verifierLow: 0,
      principal: "sys:0",
    });
    const file = new MemoryFileSystem().root.createFile("file", ROOT, {});
    state.open(state.openOwner(holder!, "owner"), file, 1, 0);
    state.now = 9_000;
    state.clients.sweep();
    assert.equal(state.clients.count, 3);
    state.now = 11_000;
    state.clients.sweep();
    assert.ok(state.clients.isCurrent(holder!));
    assert.equal(state.clients.count, 1);
    state.now = 201_000;
    state.clients.sweep();
    assert.equal(state.clients.count, 0);
    assert.equal(state.states.size, 0);
  });

  it("let go of an owner with its last open", () => {
    const state = new ServerState(10, DEFAULT_LIMITS);
    const client = state.clients.add({
      minorVersion: 1,
      owner: "client",
      verifierHigh: 0,
      verifierLow: 0,
      principal: "sys:0",
    })!;
    const file = new MemoryFileSystem().root.createFile("file", ROOT, {});
    const open = state.open(state.openOwner(client, "owner"), file, 1, 0);
    assert.equal(client.openOwners.size, 1);
    state.close(open);
    assert.equal(client.openOwners.size, 0);
  });
});

describe("replies", () => {
  it("that are too long to be kept are refused where they were to be kept", async (t) => {
    const { session, file, fileSystem } = await start(t);
    fileSystem.root.lookup("file")!.setAttributes({ size: 64 * 1024 });
    const step = read(file.stateid, 0, 64 * 1024);
    const status = async (session: TestSession, cache: boolean) =>
      (await session.call([["PUTFH", handle(file.handle)], step], { cache })).status;
    assert.equal(await status(session, true), Status.REP_TOO_BIG_TO_CACHE);
    assert.equal(await status(session, false), Status.OK);
  });
});
