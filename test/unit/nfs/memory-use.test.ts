/** What is removed gives its memory back: nothing that the server keeps leads to the content of files that are gone. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Compound } from "../../../src/nfs/compound/compound.ts";
import { completeSlot } from "../../../src/nfs/compound/kept-replies.ts";
import { MemoryFileSystem } from "../../../src/nfs/index.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { Slot } from "../../../src/nfs/state/records.ts";
import { XdrWriter } from "../../../src/xdr/index.ts";
import { arrayBuffersInUse } from "./array-buffers.ts";
import { handle, openFile, type Step } from "./client.ts";
import { serve } from "./fixture.ts";
import { read, write } from "./steps.ts";

const SLOTS = 12;
const ROUNDS = 8;
const ROOT = { userId: 0, groupId: 0, supplementaryGroupIds: [] };
const CONTENT = Buffer.alloc(512 * 1024, 1);

function close(stateid: Uint8Array): Step {
  return [
    "CLOSE",
    (writer) => {
      writer.uint32(0);
      writer.fixed(stateid);
    },
  ];
}

describe("a reply that is kept", () => {
  it("is in memory of its own, so that it keeps nothing else", () => {
    const writer = new XdrWriter();
    writer.uint64(1);
    const slot = new Slot();
    completeSlot({ writer, cacheReply: true } as Compound, slot, 0, writer.length);
    assert.deepEqual([slot.reply?.length, slot.reply?.buffer.byteLength], [8, 8]);
  });
});

describe("the memory of removed files", () => {
  it("is free again after many rounds of writes, renames and removals", async (t) => {
    const fileSystem = new MemoryFileSystem({ rootMode: 0o777 });
    const session = await (await serve(t, { fileSystem })).session();
    const { root } = fileSystem;
    const before = arrayBuffersInUse();
    for (let round = 0; round < ROUNDS; round++) {
      const directory = root.createDirectory(`round ${round}`, ROOT, {});
      const files = [];
      for (let slot = 0; slot < SLOTS; slot++) {
        files.push({ slot, ...(await openFile(session, `${slot}`, { create: "unchecked" })) });
      }
      for (const { stateid, handle: opened } of files) {
        const written = await session.call([["PUTFH", handle(opened)], write(stateid, 0, CONTENT)]);
        assert.equal(written.status, Status.OK);
      }
      // After so many operations others have their turn: each of these requests needs an interpreter of its own.
      const replies = files.map(({ slot, stateid, handle: opened }) => {
        const reads = Array.from({ length: 8 }, () => read(stateid, 0, 1));
        return session.call([["PUTFH", handle(opened)], ...reads, close(stateid)], { slot });
      });
      for (const { status } of await Promise.all(replies)) {
        assert.equal(status, Status.OK);
      }
      for (let slot = 0; slot < SLOTS; slot++) {
        root.rename(`${slot}`, directory, `${slot}`);
      }
      directory.rename("0", directory, "1");
      for (let slot = 1; slot < SLOTS; slot++) {
        directory.remove(`${slot}`);
      }
      root.remove(`round ${round}`);
    }
    const left = arrayBuffersInUse() - before;
    assert.ok(left < (SLOTS / 4) * CONTENT.length, `${left} bytes are still in use`);
  });
});
