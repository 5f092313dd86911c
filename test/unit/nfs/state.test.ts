import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MemoryFileSystem } from "../../../src/nfs/index.ts";
import { DEFAULT_LIMITS } from "../../../src/nfs/limits.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { ServerState } from "../../../src/nfs/state/server-state.ts";
import { expectResult, handle, openFile, type Step, type TestSession } from "./client.ts";
import { serve } from "./fixture.ts";
import { EVERYTHING, lock } from "./steps.ts";

const USER = { userId: 0, groupId: 0, supplementaryGroupIds: [] };

describe("opens", () => {
  it("denies what a share reservation forbids, to the same owner as well, until CLOSE", async (t) => {
    const session = await (await serve(t)).session();
    const first = await openFile(session, "file", { create: "unchecked", access: 1, deny: 2 });
    assert.equal(
      (await openFile(session, "file", { owner: "other", access: 2 })).status,
      Status.SHARE_DENIED,
    );
    assert.equal((await openFile(session, "file", { access: 2 })).status, Status.SHARE_DENIED);
    const closing: Step = [
      "CLOSE",
      (writer) => {
        writer.uint32(0);
        writer.fixed(first.stateid);
      },
    ];
    assert.equal((await session.call([["PUTFH", handle(first.handle)], closing])).status, Status.OK);
    assert.equal((await openFile(session, "file", { owner: "other", access: 2 })).status, Status.OK);
  });

  it("makes a file exclusively once, and knows the retry by its verifier", async (t) => {
    const session = await (await serve(t)).session();
    const first = await openFile(session, "file", { create: "exclusive", verifier: 7 });
    assert.equal(first.status, Status.OK);
    assert.deepEqual(
      (await openFile(session, "file", { create: "exclusive", verifier: 7 })).handle,
      first.handle,
    );
    assert.equal(
      (await openFile(session, "file", { create: "exclusive", verifier: 8 })).status,
      Status.EXIST,
    );
    assert.equal((await openFile(session, "file", { create: "guarded" })).status, Status.EXIST);
  });

  it("keeps a removed file for as long as it is open", async (t) => {
    const { session: start, server } = await serve(t);
    const session = await start();
    const { handle: file, stateid } = await openFile(session, "file", { create: "unchecked" });
    const removed = await session.call([["PUTROOTFH"], ["REMOVE", (writer) => writer.latin1("file")]]);
    assert.equal(removed.status, Status.OK);
    assert.equal((await session.call([["PUTFH", handle(file)]])).status, Status.OK);
    await session.call([
      ["PUTFH", handle(file)],
      [
        "CLOSE",
        (writer) => {
          writer.uint32(0);
          writer.fixed(stateid);
        },
      ],
    ]);
    assert.equal((await session.call([["PUTFH", handle(file)]])).status, Status.STALE);
    assert.equal(server.statistics().states, 0);
  });

  it("ends all state of a client that comes back with another verifier", async (t) => {
    const { session: start, server } = await serve(t);
    const before = await start("rebooting");
    await openFile(before, "file", { create: "unchecked", deny: 3 });
    const { connection } = before;
    const { TestSession: Session } = await import("./client.ts");
    const after = await Session.create(connection, "rebooting", 2);
    assert.equal(server.statistics().states, 0);
    assert.equal((await openFile(after, "file")).status, Status.OK);
    assert.equal((await before.call([["PUTROOTFH"]])).status, Status.BADSESSION);
  });
});

describe("byte-range locks", () => {
  it("conflict between owners, split, merge, and end with the open", async (t) => {
    const { session: start, server } = await serve(t);
    const session = await start();
    const other = await start();
    const mine = await openFile(session, "file", { create: "unchecked" });
    const theirs = await openFile(other, "file");
    const lockRange = async (
      from: TestSession,
      stateid: Buffer,
      owner: string,
      offset: number,
      length: number | bigint,
      write = true,
    ) =>
      (
        await from.call([
          ["PUTFH", handle(mine.handle)],
          lock(from, stateid, { type: write ? 2 : 1, offset, length, owner }),
        ])
      ).status;
    assert.equal(await lockRange(session, mine.stateid, "a", 0, 100), Status.OK);
    assert.equal(await lockRange(other, theirs.stateid, "b", 99, 1), Status.DENIED);
    assert.equal(await lockRange(other, theirs.stateid, "b", 100, EVERYTHING), Status.OK);
    // A downgrade in the middle leaves the ends locked for writing.
    assert.equal(await lockRange(session, mine.stateid, "a", 40, 20, false), Status.OK);
    assert.equal(await lockRange(other, theirs.stateid, "b", 45, 5, false), Status.OK);
    assert.equal(await lockRange(other, theirs.stateid, "b", 39, 1, false), Status.DENIED);
    assert.equal(await lockRange(other, theirs.stateid, "b", 60, 1, false), Status.DENIED);
    assert.equal(await lockRange(session, mine.stateid, "a", 0, 0), Status.INVAL);
    const closing: Step = [
      "CLOSE",
      (writer) => {
        writer.uint32(0);
        writer.fixed(mine.stateid);
      },
    ];
    assert.equal((await session.call([["PUTFH", handle(mine.handle)], closing])).status, Status.OK);
    assert.equal(await lockRange(other, theirs.stateid, "b", 0, EVERYTHING), Status.OK);
    assert.equal(server.statistics().states, 2);
  });
});

describe("READDIR", () => {
  it("lists every entry that stays exactly once while others come and go", async (t) => {
    const session = await (await serve(t)).session();
    for (let index = 0; index < 60; index++) {
      await openFile(session, `entry ${index}`, { create: "unchecked" });
    }
    const seen: string[] = [];
    let cookie = 0;
    for (let page = 0; ; page++) {
      const { reader, status } = await session.call([
        ["PUTROOTFH"],
        [
          "READDIR",
          (writer) => {
            writer.uint64(cookie);
            writer.uint64(0);
            writer.uint32(400);
            writer.uint32(400);
            writer.uint32(0);
          },
        ],
      ]);
      assert.equal(status, Status.OK);
      expectResult(reader, "PUTROOTFH");
      expectResult(reader, "READDIR");
      reader.skip(8);
      while (reader.bool()) {
        cookie = reader.uint64();
        seen.push(reader.latin1(255));
        reader.length(0);
        reader.uint32();
      }
      if (reader.bool()) {
        break;
      }
      await session.call([["PUTROOTFH"], ["REMOVE", (writer) => writer.latin1(`entry ${page}`)]]);
      await openFile(session, `new ${page}`, { create: "unchecked" });
    }
    for (let index = 30; index < 60; index++) {
      assert.equal(seen.filter((entry) => entry === `entry ${index}`).length, 1, `entry ${index}`);
    }
    assert.equal(new Set(seen).size, seen.length);
  });
});

describe("the state of NFSv4.0", () => {
  it("remembers that a delegation ended with its client's lease", () => {
    const state = new ServerState(90, DEFAULT_LIMITS);
    const client = state.clients.add({
      minorVersion: 0,
      owner: "client",
      verifierHigh: 1,
      verifierLow: 1,
      principal: "principal",
    })!;
    const file = new MemoryFileSystem().root.createFile("file", USER, {});
    const time = { seconds: 0, nanoseconds: 0 };
    const given = { change: 0, accessTime: time, modifyTime: time };
    const { index, generation } = state.delegate(client, file, 1, false, given);
    assert.equal(state.wasExpired(index, generation), false);
    state.now += 100_000;
    assert.equal(state.clients.resolveConflict(client), true);
    assert.equal(state.wasExpired(index, generation), true);
  });
});
