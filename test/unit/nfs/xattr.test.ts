import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FileType, MemoryFileSystem } from "../../../src/nfs/index.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { expectResult, name } from "./client.ts";
import { serve } from "./fixture.ts";

const ROOT_USER = { userId: 0, groupId: 0, supplementaryGroupIds: [] };

describe("extended attributes", () => {
  it("of what can have none are an empty list, but cannot be read or set", async (t) => {
    const fileSystem = new MemoryFileSystem();
    fileSystem.root.createSpecial("fifo", ROOT_USER, { type: FileType.FIFO }, { mode: 0o644 });
    const session = await (await serve(t, { fileSystem })).session();
    const listed = await session.call(
      [
        ["PUTROOTFH"],
        ["LOOKUP", name("fifo")],
        [
          "LISTXATTRS",
          (writer) => {
            writer.uint64(0);
            writer.uint32(1024);
          },
        ],
      ],
      { minorVersion: 2 },
    );
    expectResult(listed.reader, "PUTROOTFH");
    expectResult(listed.reader, "LOOKUP");
    expectResult(listed.reader, "LISTXATTRS");
    assert.deepEqual([listed.reader.uint64(), listed.reader.uint32(), listed.reader.bool()], [0, 0, true]);
    const { status } = await session.call(
      [["PUTROOTFH"], ["LOOKUP", name("fifo")], ["GETXATTR", name("a")]],
      { minorVersion: 2 },
    );
    assert.equal(status, Status.WRONG_TYPE);
  });
});
