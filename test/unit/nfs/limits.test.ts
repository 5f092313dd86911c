/** What clients may make the server hold, and what the one too many is told. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Gate, MemoryFileSystem, NfsServer } from "../../../src/nfs/index.ts";
import { DEFAULT_LIMITS } from "../../../src/nfs/limits.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { OwnerSequence } from "../../../src/nfs/state/records.ts";

import { ServerState } from "../../../src/nfs/state/server-state.ts";
import {
  createSessionArguments,
  encodeCompound,
  exchangeIdArguments,
  expectResult,
  handle,
  name,
  openFile,
  parseReply,
  type Step,
  TestConnection,
  TestSession,
} from "./client.ts";
import { serve } from "./fixture.ts";
import { lock, read, write } from "./steps.ts";

const MIB = 2 ** 20;

/** Also when the server resets the connection. */
const ended = (connection: TestConnection) =>
  new Promise((resolve) => connection.socket.once("close", resolve));

async function exchangeId(connection: TestConnection, owner: string) {
  const { status, reader } = await connection.compound([["EXCHANGE_ID", exchangeIdArguments(owner, 1)]]);
  if (status !== Status.OK) {
    return { status, clientid: Buffer.alloc(8), sequence: 0 };
  }
  expectResult(reader, "EXCHANGE_ID");
  return { status, clientid: Buffer.from(reader.fixed(8)), sequence: reader.uint32() };
}

async function createSession(connection: TestConnection, clientid: Buffer, sequence: number) {
  return (await connection.compound([["CREATE_SESSION", createSessionArguments(clientid, sequence)]])).status;
}

describe("connections", () => {
  it("beyond the limit take the place of one that was never used, else are closed", async (t) => {
    const { connect, port } = await serve(t, { maximumConnections: 2 });
    const used = await connect();
    await exchangeId(used, "used");
    const halfOpen = await connect();
    halfOpen.socket.write(Buffer.from([0x80, 0, 0, 100, 1]));
    const closed = ended(halfOpen);
    const third = await connect();
    await closed;
    assert.equal((await exchangeId(third, "third")).status, Status.OK);
    const fourth = await TestConnection.open(port);
    await ended(fourth);
    assert.equal((await exchangeId(used, "used")).status, Status.OK);
  });

  it("that were silent for a lease time make room, too", async (t) => {
    const { connect } = await serve(t, { maximumConnections: 1, leaseSeconds: 0.05 });
    const silent = await connect();
    await exchangeId(silent, "silent");
    const closed = ended(silent);
    let status: number | undefined;
    while (status === undefined) {
      const connection = await connect();
      status = await exchangeId(connection, "new").then(
        (made) => made.status,
        () => undefined,
      );
    }
    assert.equal(status, Status.OK);
    await closed;
  });

  it("that send a record too long, or of endless fragments, are closed", async (t) => {
    const { connect } = await serve(t);
    const empty = Buffer.alloc(4);
    const tiny = Buffer.from([0, 0, 0, 1, 0xff]);
    for (const bytes of [
      Buffer.from([0xff, 0xff, 0xff, 0xff]),
      Buffer.from([0x7f, 0xff, 0xff, 0xff]),
      Buffer.concat(Array.from({ length: 5000 }, () => empty)),
      Buffer.concat(Array.from({ length: 5000 }, () => tiny)),
    ]) {
      const connection = await connect();
      const closed = ended(connection);
      connection.socket.write(bytes);
      await closed;
    }
  });

  it("that take no replies get no more of them than a few MiB, and all of them in the end", async (t) => {
    const fileSystem = new MemoryFileSystem({ rootMode: 0o777 });
    const { session: start } = await serve(t, { fileSystem });
    const session = await start();
    const { stateid, handle: file } = await openFile(session, "file", { create: "unchecked" });
    const node = fileSystem.root.lookup("file")!;
    assert.ok("read" in node);
    // Fresh memory for each reply, as of a hole.
    node.setAttributes({ size: MIB });
    let served = 0;
    const original = node.read.bind(node);
    node.read = (offset, count) => {
      served++;
      return original(offset, count);
    };
    const { socket } = session.connection;
    socket.pause();
    const requests = 120;
    // With what is around it as long as the session allows.
    const size = MIB - 4096;
    const replies: Promise<Buffer>[] = [];
    socket.cork();
    for (let index = 0; index < requests; index++) {
      const steps: Step[] = [session.sequence(index % 60), ["PUTFH", handle(file)], read(stateid, 0, size)];
      replies.push(session.connection.exchange(encodeCompound(steps)));
    }
    socket.uncork();
    const other = await start("another client");
    for (let turn = 0; turn < 100; turn++) {
      await other.call([["PUTROOTFH"]]);
    }
    assert.ok(served > 0 && served < 50, `${served} MiB of replies for a peer that takes none`);
    socket.resume();
    for (const reply of replies) {
      assert.equal(parseReply(await reply).status, Status.OK);
    }
    assert.equal(served, requests);
  });
});

describe("clients", () => {
  it("beyond the limit take the place of the oldest that was not confirmed, else are told to wait", async (t) => {
    const { connect, server } = await serve(t, { maximumClients: 3 });
    const connection = await connect();
    const confirmed = await TestSession.create(connection, "confirmed");
    const oldest = await exchangeId(connection, "oldest");
    const newer = await exchangeId(connection, "newer");
    const newest = await exchangeId(connection, "newest");
    assert.equal(server.statistics().clients, 3);
    assert.equal(await createSession(connection, oldest.clientid, oldest.sequence), Status.STALE_CLIENTID);
    assert.equal(await createSession(connection, newer.clientid, newer.sequence), Status.OK);
    assert.equal(await createSession(connection, newest.clientid, newest.sequence), Status.OK);
    assert.equal((await exchangeId(connection, "one too many")).status, Status.DELAY);
    const setclientid: Step = [
      "SETCLIENTID",
      (writer) => {
        writer.uint64(1);
        for (const text of ["one too many"]) {
          writer.latin1(text);
        }
        writer.uint32(0);
        for (const text of ["tcp", "127.0.0.1.0.0"]) {
          writer.latin1(text);
        }
        writer.uint32(0);
      },
    ];
    assert.equal((await connection.compound([setclientid], { minorVersion: 0 })).status, Status.DELAY);
    assert.equal((await confirmed.call([["PUTROOTFH"]])).status, Status.OK);
  });

  it("whose lease ran out go for a new one, the longest silent first", async (t) => {
    const { connect, session } = await serve(t, { maximumClients: 2, leaseSeconds: 0.05 });
    const connection = await connect();
    const silent = await session("silent");
    await openFile(silent, "file", { create: "unchecked" });
    const alive = await TestSession.create(connection, "alive");
    await openFile(alive, "other file", { create: "unchecked" });
    let status: number = Status.DELAY;
    while (status === Status.DELAY) {
      assert.equal((await alive.call([["PUTROOTFH"]])).status, Status.OK);
      ({ status } = await exchangeId(connection, "new"));
    }
    assert.equal(status, Status.OK);
    assert.equal((await silent.call([["PUTROOTFH"]])).status, Status.BADSESSION);
    assert.equal((await alive.call([["PUTROOTFH"]])).status, Status.OK);
  });

  it("keep what they have for the enforced lease, not the announced one", async (t) => {
    const leaseSeconds = 0.02;
    const { connect, session } = await serve(t, {
      maximumClients: 1,
      leaseSeconds,
      enforcedLeaseSeconds: 3600,
    });
    await openFile(await session("silent"), "file", { create: "unchecked" });
    const connection = await connect();
    const announcedEnd = performance.now() + leaseSeconds * 1000;
    let asked: number;
    do {
      asked = performance.now();
      assert.equal((await exchangeId(connection, "new")).status, Status.DELAY);
    } while (asked <= announcedEnd);
  });

  it("have so many sessions and no more", async (t) => {
    const { connect } = await serve(t, { maximumSessionsPerClient: 2 });
    const connection = await connect();
    const { clientid, sequence } = await exchangeId(connection, "client");
    assert.equal(await createSession(connection, clientid, sequence), Status.OK);
    assert.equal(await createSession(connection, clientid, sequence + 1), Status.OK);
    assert.equal(await createSession(connection, clientid, sequence + 2), Status.NOSPC);
  });

  it("have so many opens, and what they would open more is not even made", async (t) => {
    const { session: start } = await serve(t, { maximumStatesPerClient: 2 });
    const [session, other] = [await start(), await start()];
    const first = await openFile(session, "a", { create: "unchecked" });
    await openFile(session, "b", { create: "unchecked" });
    assert.equal((await openFile(session, "c", { create: "unchecked" })).status, Status.DELAY);
    assert.equal((await session.call([["PUTROOTFH"], ["LOOKUP", name("c")]])).status, Status.NOENT);
    assert.equal((await openFile(other, "c", { create: "unchecked" })).status, Status.OK);
    const close: Step = [
      "CLOSE",
      (writer) => {
        writer.uint32(0);
        writer.fixed(first.stateid);
      },
    ];
    assert.equal((await session.call([["PUTFH", handle(first.handle)], close])).status, Status.OK);
    assert.equal((await openFile(session, "c", { create: "unchecked" })).status, Status.OK);
  });

  it("have so many locks, also by unlocking what lies within one; unlocking it all goes on", async (t) => {
    const session = await (await serve(t, { maximumLocksPerClient: 2 })).session();
    const { stateid, handle: file } = await openFile(session, "file", { create: "unchecked" });
    const run = async (step: Step) => session.call([["PUTFH", handle(file)], step]);
    assert.equal(
      (await run(lock(session, stateid, { owner: "owner", offset: 0, length: 10 }))).status,
      Status.OK,
    );
    const locked = await run(lock(session, stateid, { owner: "owner", offset: 20, length: 10 }));
    expectResult(locked.reader, "PUTFH");
    expectResult(locked.reader, "LOCK");
    const lockStateid = Buffer.from(locked.reader.fixed(16));
    lockStateid.writeUInt32BE(0, 0);
    const unlock = (offset: number, length: number): Step => [
      "LOCKU",
      (writer) => {
        writer.uint32(2);
        writer.uint32(0);
        writer.fixed(lockStateid);
        writer.uint64(offset);
        writer.uint64(length);
      },
    ];
    assert.equal(
      (await run(lock(session, stateid, { owner: "owner", offset: 40, length: 10 }))).status,
      Status.DELAY,
    );
    assert.equal((await run(unlock(4, 2))).status, Status.DELAY);
    assert.equal((await run(unlock(0, 10))).status, Status.OK);
    assert.equal((await run(unlock(22, 2))).status, Status.OK);
    assert.equal(
      (await run(lock(session, stateid, { owner: "owner", offset: 40, length: 10 }))).status,
      Status.DELAY,
    );
    assert.equal((await run(unlock(0, 100))).status, Status.OK);
    assert.equal(
      (await run(lock(session, stateid, { owner: "owner", offset: 40, length: 10 }))).status,
      Status.OK,
    );
  });

  it("leave few owners behind that have no state", () => {
    const state = new ServerState(90, DEFAULT_LIMITS);
    const client = state.clients.add({
      minorVersion: 0,
      owner: "client",
      verifierHigh: 0,
      verifierLow: 0,
      principal: "sys:0",
    })!;
    for (let index = 0; index < 10_000; index++) {
      const owner = state.openOwner(client, `owner ${index}`);
      owner.sequence = new OwnerSequence();
      state.lockOwner(client, `owner ${index}`);
    }
    assert.ok(client.openOwners.size + client.lockOwners.size <= 1025);
    assert.ok(client.openOwners.has("owner 9999"));
  });

  it("are told of limits that make no sense", () => {
    const fileSystem = new MemoryFileSystem();
    assert.throws(() => new NfsServer({ fileSystem, maximumClients: 0 }), /maximumClients is 0; expected/);
    assert.throws(() => new NfsServer({ fileSystem, maximumSlots: 1.5 }), /maximumSlots is 1.5; expected/);
  });
});

describe("slots", () => {
  it("answer a request once, and another one that passes for its retry never", async (t) => {
    const { session: start, connect } = await serve(t);
    const session = await start();
    const run = async (steps: Step[], userId = 0) =>
      (await session.connection.compound(steps, { userId })).status;
    const first = session.sequenceOf(1, 3);
    assert.equal(await run([first, ["PUTROOTFH"]]), Status.OK);
    assert.equal(await run([first, ["PUTROOTFH"], ["GETFH"]]), Status.SEQ_FALSE_RETRY);
    assert.equal(await run([first, ["PUTROOTFH"]], 1000), Status.SEQ_FALSE_RETRY);
    assert.equal(await run([first, ["PUTROOTFH"]]), Status.RETRY_UNCACHED_REP);
    const cached = session.sequenceOf(2, 3, true);
    assert.equal(await run([cached, ["PUTROOTFH"], ["LOOKUP", name("aaaa")]]), Status.NOENT);
    assert.equal(await run([cached, ["PUTROOTFH"], ["LOOKUP", name("bbbb")]]), Status.SEQ_FALSE_RETRY);
    assert.equal(await run([cached, ["PUTROOTFH"], ["LOOKUP", name("aaaa")]], 7), Status.SEQ_FALSE_RETRY);
    const other = await connect();
    const again = await other.compound([cached, ["PUTROOTFH"], ["LOOKUP", name("aaaa")]]);
    assert.equal(again.status, Status.NOENT);
  });

  it("that are in use take neither the next request nor another as its retry", async (t) => {
    const fileSystem = new MemoryFileSystem({ rootMode: 0o777 });
    const file = fileSystem.root.createFile("slow", { userId: 0, groupId: 0, supplementaryGroupIds: [] }, {});
    const waiting = Promise.withResolvers<void>();
    const started = Promise.withResolvers<void>();
    file.read = (() => {
      started.resolve();
      return waiting.promise.then(() => Buffer.from("late"));
    }) as never;
    const session = await (await serve(t, { fileSystem })).session();
    const { stateid } = await openFile(session, "slow", { access: 1 });
    const steps = (count: number): Step[] => [
      ["PUTROOTFH"],
      ["LOOKUP", name("slow")],
      read(stateid, 0, count),
    ];
    const run = async (step: Step, count: number) =>
      (await session.connection.compound([step, ...steps(count)])).status;
    const first = session.connection.compound([session.sequenceOf(1, 4, true), ...steps(10)]);
    await started.promise;
    assert.equal(await run(session.sequenceOf(1, 4, true), 11), Status.SEQ_FALSE_RETRY);
    assert.equal(await run(session.sequenceOf(2, 4, true), 10), Status.SEQ_MISORDERED);
    assert.equal(await run(session.sequenceOf(0, 4, true), 10), Status.SEQ_MISORDERED);
    waiting.resolve();
    assert.equal((await first).status, Status.OK);
  });

  it("are as many as were granted", async (t) => {
    const { connect } = await serve(t, { maximumSlots: 4 });
    const session = await TestSession.create(await connect());
    const run = async (step: Step) => (await session.connection.compound([step, ["PUTROOTFH"]])).status;
    assert.equal(await run(session.sequenceOf(1, 3)), Status.OK);
    assert.equal(await run(session.sequenceOf(1, 4)), Status.BADSLOT);
    assert.equal(await run(session.sequenceOf(1, 0xffff_ffff)), Status.BADSLOT);
    const lowHighest: Step = [
      "SEQUENCE",
      (writer) => {
        writer.fixed(session.id);
        for (const word of [1, 2, 1, 0]) {
          writer.uint32(word);
        }
      },
    ];
    assert.equal(await run(lowHighest), Status.BAD_HIGH_SLOT);
  });
});

function space(capacity: number) {
  const fileSystem = new MemoryFileSystem({ capacity });
  return { root: fileSystem.root, free: () => fileSystem.statistics().freeSpace };
}

describe("the memory file system", () => {
  it("holds so many bytes and no more, and gives them back with the file", async (t) => {
    const capacity = 2 * MIB + 1024;
    const fileSystem = new MemoryFileSystem({ rootMode: 0o777, capacity });
    const session = await (await serve(t, { fileSystem })).session();
    const fill = async (file: { stateid: Buffer; handle: Buffer }, offset: number, count: number) => {
      const step = write(file.stateid, offset, Buffer.alloc(count, 1));
      return (await session.call([["PUTFH", handle(file.handle)], step])).status;
    };
    for (let round = 0; round < 3; round++) {
      const file = await openFile(session, "file", { create: "unchecked" });
      for (let offset = 0; offset < 2 * MIB; offset += MIB / 2) {
        assert.equal(await fill(file, offset, MIB / 2), Status.OK);
      }
      assert.equal(await fill(file, 2 * MIB, 1), Status.NOSPC);
      assert.equal(fileSystem.statistics().freeSpace, 0);
      const close: Step = [
        "CLOSE",
        (writer) => {
          writer.uint32(0);
          writer.fixed(file.stateid);
        },
      ];
      const removed = await session.call([
        ["PUTFH", handle(file.handle)],
        close,
        ["PUTROOTFH"],
        ["REMOVE", name("file")],
      ]);
      assert.equal(removed.status, Status.OK);
      assert.equal(fileSystem.statistics().freeSpace, capacity);
    }
  });

  it("counts nodes, names, link targets and extended attributes, and gives them back", () => {
    const owner = { userId: 0, groupId: 0, supplementaryGroupIds: [] };
    const { root, ...fileSystem } = space(64 * 1024);
    const noSpace = { status: Status.NOSPC };
    const fill = (act: (index: number) => void) => {
      let count = 0;
      assert.throws(() => {
        for (; count < 1000; count++) {
          act(count);
        }
      }, noSpace);
      return count;
    };
    const directories = fill((index) => root.createDirectory(`${index}`, owner, {}));
    assert.equal(root.attributes().linkCount, 2 + directories);
    for (let index = 0; index < directories; index++) {
      root.remove(`${index}`);
    }
    assert.equal(fileSystem.free(), 64 * 1024);

    root.createSymlink("symlink", owner, Buffer.alloc(4096, "a"), {});
    assert.ok(fileSystem.free() <= 60 * 1024);
    const file = root.createFile("file", owner, {});
    const links = fill((index) => root.link(`${index}`, file));
    assert.equal(file.attributes().linkCount, 1 + links);
    for (let index = 0; index < links; index++) {
      root.remove(`${index}`);
    }
    const free = fileSystem.free();
    const values = fill((index) => file.setExtendedAttribute(`${index}`, Buffer.alloc(1000), "either"));
    assert.deepEqual(file.listExtendedAttributes().length, values);
    for (let index = 0; index < values; index++) {
      file.removeExtendedAttribute(`${index}`);
    }
    assert.equal(fileSystem.free(), free);
    file.setExtendedAttribute("kept", Buffer.alloc(1000), "create");
    file.setExtendedAttribute("kept", Buffer.alloc(10), "replace");
    root.remove("file");
    root.remove("symlink");
    assert.equal(fileSystem.free(), 64 * 1024);
  });

  it("keeps no longer list of a node's extended attributes than a client can read", () => {
    const { root } = space(2 ** 30);
    const name = (index: number) => `${index}`.padEnd(250, "x");
    assert.throws(
      () => {
        for (let index = 0; index < 1000; index++) {
          root.setExtendedAttribute(name(index), Buffer.alloc(0), "create");
        }
      },
      { status: Status.NOSPC },
    );
    assert.equal(root.listExtendedAttributes().length, 256);
    root.setExtendedAttribute(name(0), Buffer.alloc(1), "replace");
    root.removeExtendedAttribute(name(0));
    root.setExtendedAttribute(name(0), Buffer.alloc(1), "create");
  });

  it("is full of bytes scattered over a sparse file before it is slow", () => {
    const { root } = space(16 * MIB);
    const file = root.createFile("file", { userId: 0, groupId: 0, supplementaryGroupIds: [] }, {});
    let written = 0;
    assert.throws(
      () => {
        for (; written < 4096; written++) {
          file.write(written * MIB, Buffer.of(1));
        }
      },
      { status: Status.NOSPC },
    );
    assert.ok(written <= 256, `${written}`);
  });

  it("has no capacity that is no number", () => {
    for (const capacity of [-1, Number.NaN]) {
      assert.throws(() => new MemoryFileSystem({ capacity }), { message: /^capacity is/ });
    }
  });
});

describe("long compounds", () => {
  it("let others have their turn", async (t) => {
    const fileSystem = new MemoryFileSystem({ rootMode: 0o777 });
    const { connect } = await serve(t, { fileSystem });
    let looked = 0;
    let inFirstTurn = 0;
    fileSystem.root.lookup = () => {
      if (looked++ === 0) {
        setImmediate(() => (inFirstTurn = looked));
      }
      return fileSystem.root;
    };
    const steps: Step[] = Array.from({ length: 200 }, () => ["LOOKUP", name("root")]);
    const { status, count } = await (await connect()).compound([["PUTROOTFH"], ...steps], {
      minorVersion: 0,
    });
    assert.deepEqual([status, count, looked], [Status.OK, 201, 200]);
    assert.ok(inFirstTurn > 0 && inFirstTurn < 20, `${inFirstTurn}`);
  });

  it("of NFSv4.0 get no reply much longer than one READ's", async (t) => {
    const fileSystem = new MemoryFileSystem();
    const owner = { userId: 0, groupId: 0, supplementaryGroupIds: [] };
    fileSystem.root.createFile("file", owner, { size: 2 * MIB });
    const connection = await (await serve(t, { fileSystem })).connect();
    const steps: Step[] = Array.from({ length: 100 }, () => read(Buffer.alloc(16), 0, MIB));
    const { status, count, bytes } = await connection.compound(
      [["PUTROOTFH"], ["LOOKUP", name("file")], ...steps],
      { minorVersion: 0 },
    );
    assert.deepEqual([status, count], [Status.RESOURCE, 5]);
    assert.ok(bytes.length < 2.1 * MIB);
  });
});

describe("options", () => {
  it("that make no sense are refused by name", () => {
    const fileSystem = new MemoryFileSystem();
    for (const [options, message] of [
      [{ leaseSeconds: 0 }, /^leaseSeconds is 0;/],
      [{ leaseSeconds: Number.NaN }, /^leaseSeconds is NaN;/],
      [{ leaseSeconds: 1e9 }, /^leaseSeconds is 1000000000;/],
      [{ leaseSeconds: 10, enforcedLeaseSeconds: 9 }, /^enforcedLeaseSeconds is 9;/],
      [{ minimumMinorVersion: 2, maximumMinorVersion: 1 }, /^minor versions are 2 to 1;/],
      [{ maximumMinorVersion: 3 }, /^minor versions are 0 to 3;/],
      [{ maximumMinorVersion: 0, gate: new Gate() }, /^minor versions are 1 to 0;/],
      [{ maximumSlots: 0.5 }, /^maximumSlots is 0.5;/],
    ] as const) {
      assert.throws(() => new NfsServer({ fileSystem, ...options }), { name: "RangeError", message });
    }
  });

  it("of listen are refused, too, and it can be called again then", async (t) => {
    const { port } = await serve(t);
    const server = new NfsServer({ fileSystem: new MemoryFileSystem() });
    await assert.rejects(server.listen({ port }), { code: "EADDRINUSE" });
    await assert.rejects(server.listen({ port: 70_000 }), { name: "RangeError" });
    assert.ok((await server.listen()) > 0);
    await server.close();
  });
});
