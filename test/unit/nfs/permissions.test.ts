/** What a change of metadata or content does to a file's owner and mode, and who may make it: as on a local file system. */
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { MemoryFileSystem } from "../../../src/nfs/index.ts";
import { Attribute } from "../../../src/nfs/protocol/attribute.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { handle, openFile, type Step } from "./client.ts";
import { serve } from "./fixture.ts";
import { ANONYMOUS } from "./steps.ts";

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
