/** What a change of metadata or content does to a file's owner and mode, and who may make it: as on a local file system. */
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { MemoryFileSystem } from "../../../src/nfs/index.ts";
import { Attribute } from "../../../src/nfs/protocol/attribute.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { handle, name, openArguments, openFile, type Step } from "./client.ts";
import { serve } from "./fixture.ts";
import { ANONYMOUS, write } from "./steps.ts";

const OWNER = 1000;
const OTHER = 2000;

/** SETATTR of the owner, the group or both. */
function setOwners({ userId, groupId }: { userId?: number; groupId?: number }): Step {
  return [
    "SETATTR",
    (writer) => {
      const values = [userId, groupId].filter((id) => id !== undefined).map(String);
      const bits =
        (userId === undefined ? 0 : 1 << (Attribute.OWNER - 32)) |
        (groupId === undefined ? 0 : 1 << (Attribute.OWNER_GROUP - 32));
      writer.fixed(ANONYMOUS);
      writer.uint32(2);
      writer.uint32(0);
      writer.uint32(bits);
      writer.uint32(values.reduce((sum, value) => sum + 4 + Math.ceil(value.length / 4) * 4, 0));
      for (const value of values) {
        writer.latin1(value);
      }
    },
  ];
}

/** ALLOCATE or DEALLOCATE of the first 4096 bytes. */
function reserve(operation: "ALLOCATE" | "DEALLOCATE"): Step {
  return [
    operation,
    (writer) => {
      writer.fixed(ANONYMOUS);
      writer.uint64(0);
      writer.uint64(4096);
    },
  ];
}

/** The file's first 4096 bytes become also those that follow. */
function duplicate(operation: "COPY" | "CLONE"): Step {
  return [
    operation,
    (writer) => {
      writer.fixed(ANONYMOUS);
      writer.fixed(ANONYMOUS);
      for (const value of [0, 4096, 4096]) {
        writer.uint64(value);
      }
      if (operation === "COPY") {
        writer.bool(true);
        writer.bool(true);
        writer.uint32(0);
      }
    },
  ];
}

function setSize(size: number): Step {
  return [
    "SETATTR",
    (writer) => {
      writer.fixed(ANONYMOUS);
      writer.uint32(1);
      writer.uint32(1 << Attribute.SIZE);
      writer.uint32(8);
      writer.uint64(size);
    },
  ];
}

async function start(t: TestContext) {
  const fileSystem = new MemoryFileSystem({ rootMode: 0o777 });
  const fixture = await serve(t, { fileSystem });
  const session = await fixture.session();
  const file = await openFile(session, "file", { create: "unchecked" });
  const node = fileSystem.root.lookup("file")!;
  const run = async (steps: Step[], userId = 0, groupId = userId) =>
    (await session.call([["PUTFH", handle(file.handle)], ...steps], { minorVersion: 2, userId, groupId }))
      .status;
  const inRoot = async (steps: Step[], userId = 0, groupId = userId) =>
    (await session.call([["PUTROOTFH"], ...steps], { minorVersion: 2, userId, groupId })).status;
  return { fileSystem, session, file, node, run, inRoot };
}

describe("owner and group", () => {
  it("are not for others to set, not even to what they are", async (t) => {
    const { node, run } = await start(t);
    node.setAttributes({ mode: 0o6755 });
    const before = structuredClone(node.attributes());
    assert.equal(await run([setOwners({ groupId: 0 })], OTHER), Status.PERM);
    assert.equal(await run([setOwners({ groupId: OTHER })], OTHER), Status.PERM);
    assert.equal(await run([setOwners({ userId: 0 })], OTHER), Status.PERM);
    assert.deepEqual(node.attributes(), before);
  });

  it("may be set by the owner to what they are, and the group to one of his", async (t) => {
    const { node, run } = await start(t);
    node.setAttributes({ userId: OWNER, groupId: 7 });
    assert.equal(await run([setOwners({ userId: OWNER, groupId: 7 })], OWNER), Status.OK);
    assert.equal(await run([setOwners({ groupId: 8 })], OWNER), Status.PERM);
    assert.equal(await run([setOwners({ userId: OTHER })], OWNER), Status.PERM);
    assert.equal(await run([setOwners({ groupId: 8 })], OWNER, 8), Status.OK);
    assert.equal(node.attributes().groupId, 8);
  });
});

describe("set-id bits", () => {
  it("go with a new owner or group, also one that root gives", async (t) => {
    const { node, run } = await start(t);
    for (const [owners, userId, mode, expected] of [
      [{ userId: 0, groupId: 5 }, 0, 0o6755, 0o755],
      [{ groupId: 5 }, 0, 0o6745, 0o2745],
      [{ userId: OWNER }, 0, 0o1755, 0o1755],
      [{ groupId: OWNER }, OWNER, 0o6755, 0o755],
    ] as const) {
      node.setAttributes({ mode, userId });
      assert.equal(await run([setOwners(owners)], userId), Status.OK);
      assert.equal(node.attributes().mode, expected);
    }
  });

  it("of a directory stay", async (t) => {
    const { fileSystem, inRoot } = await start(t);
    const owner = { userId: OWNER, groupId: 7, supplementaryGroupIds: [] };
    const directory = fileSystem.root.createDirectory("directory", owner, { mode: 0o2775 });
    for (const userId of [OWNER, 0]) {
      const steps: Step[] = [["LOOKUP", name("directory")], setOwners({ groupId: OWNER })];
      assert.equal(await inRoot(steps, userId), Status.OK);
      assert.equal(directory.attributes().mode, 0o2775);
    }
  });

  const changes: [string, Step][] = [
    ["WRITE", write(ANONYMOUS, 0, Buffer.from("x"))],
    ["ALLOCATE", reserve("ALLOCATE")],
    ["DEALLOCATE", reserve("DEALLOCATE")],
    ["COPY", duplicate("COPY")],
    ["CLONE", duplicate("CLONE")],
    ["SETATTR of the size", setSize(0)],
  ];
  for (const [operation, step] of changes) {
    it(`go with ${operation} by anybody but root`, async (t) => {
      const { node, run } = await start(t);
      node.setAttributes({ mode: 0o6777, size: 8192 });
      assert.equal(await run([["SAVEFH"], step]), Status.OK);
      assert.equal(node.attributes().mode, 0o6777);
      node.setAttributes({ size: 8192 });
      assert.equal(await run([["SAVEFH"], step], OTHER), Status.OK);
      assert.equal(node.attributes().mode, 0o777);
    });
  }

  it("go with an OPEN that truncates, by anybody but root", async (t) => {
    const { session, node, inRoot } = await start(t);
    const truncating: Step = [
      "OPEN",
      openArguments(session.clientid, "file", { create: "unchecked", size: 0 }),
    ];
    node.setAttributes({ mode: 0o6777, size: 8192 });
    assert.equal(await inRoot([truncating]), Status.OK);
    assert.deepEqual([node.attributes().mode, node.attributes().size], [0o6777, 0]);
    assert.equal(await inRoot([truncating], OTHER), Status.OK);
    assert.equal(node.attributes().mode, 0o777);
  });
});

describe("RENAME of a directory", () => {
  it("into another needs write permission on it; within its own it does not", async (t) => {
    const { fileSystem, inRoot } = await start(t);
    const user = { userId: OTHER, groupId: OTHER, supplementaryGroupIds: [] };
    const owner = { userId: OWNER, groupId: OWNER, supplementaryGroupIds: [] };
    fileSystem.root.createDirectory("target", user, { mode: 0o755 });
    const moved = fileSystem.root.createDirectory("moved", owner, { mode: 0o755 });
    const rename = (from: string, to: string): Step => [
      "RENAME",
      (writer) => {
        writer.latin1(from);
        writer.latin1(to);
      },
    ];
    const away: Step[] = [["SAVEFH"], ["LOOKUP", name("target")], rename("moved", "moved")];
    assert.equal(await inRoot(away, OTHER), Status.ACCESS);
    assert.equal(fileSystem.root.lookup("moved"), moved);
    assert.equal(await inRoot([["SAVEFH"], rename("moved", "renamed")], OTHER), Status.OK);
    assert.equal(await inRoot([["SAVEFH"], rename("renamed", "moved")], OTHER), Status.OK);
    moved.setAttributes({ mode: 0o757 });
    assert.equal(await inRoot(away, OTHER), Status.OK);
    assert.equal(moved.parent(), fileSystem.root.lookup("target"));
  });
});
