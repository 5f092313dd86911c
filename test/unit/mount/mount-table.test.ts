import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { isMounted, parseMountTable, readMountTable } from "../../../src/mount/mount-table.ts";

/** As show_mountinfo() of the kernel writes a name. */
function escapeOctal(name: string): Buffer {
  const bytes = [...Buffer.from(name)].flatMap((byte) =>
    " \t\n\\#".includes(String.fromCharCode(byte))
      ? [...Buffer.from(`\\${byte.toString(8).padStart(3, "0")}`)]
      : [byte],
  );
  return Buffer.from(bytes);
}

function line(root: Buffer, mountPoint: Buffer, optional: readonly string[], source: Buffer): Buffer {
  const parts = [
    Buffer.from("36 35 98:0"),
    root,
    mountPoint,
    Buffer.from("rw,noatime"),
    ...optional.map((field) => Buffer.from(field)),
    Buffer.from("-"),
    Buffer.from("nfs4"),
    source,
    Buffer.from("rw,vers=4.2\n"),
  ];
  return Buffer.concat(parts.flatMap((part, index) => (index === 0 ? [part] : [Buffer.from(" "), part])));
}

describe("the mount table", () => {
  it("is read as proc(5) describes it", () => {
    const text =
      "36 35 98:0 /mnt1 /mnt/with\\040space rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n" +
      "37 36 0:33 / /\\134\\011\\012 ro - nfs4 127.0.0.1:/x rw\n";
    assert.deepEqual(parseMountTable(Buffer.from(text)), [
      {
        mountId: 36,
        parentId: 35,
        root: "/mnt1",
        mountPoint: "/mnt/with space",
        options: "rw,noatime",
        optionalFields: ["master:1", "shared:2"],
        fileSystemType: "ext3",
        source: "/dev/root",
        superOptions: "rw,errors=continue",
      },
      {
        mountId: 37,
        parentId: 36,
        root: "/",
        mountPoint: "/\\\t\n",
        options: "ro",
        optionalFields: [],
        fileSystemType: "nfs4",
        source: "127.0.0.1:/x",
        superOptions: "rw",
      },
    ]);
  });

  it("has every name as it was mounted", () => {
    // Names as mounts have them: anything but NUL, and not empty.
    const name = fc
      .oneof(fc.string({ unit: "binary", minLength: 1 }), fc.stringMatching(/^[ \t\n\\#0-7-]+$/))
      .map((text) => Buffer.from(text.replaceAll("\0", "0")).toString());
    const optional = fc.array(fc.constantFrom("shared:1", "master:7", "propagate_from:2", "unbindable"));
    fc.assert(
      fc.property(fc.array(fc.tuple(name, name, optional, name)), (mounts) => {
        const bytes = Buffer.concat(
          mounts.map(([root, point, fields, source]) =>
            line(escapeOctal(root), escapeOctal(point), fields, escapeOctal(source)),
          ),
        );
        const table = parseMountTable(bytes);
        assert.deepEqual(
          table.map((entry) => [entry.root, entry.mountPoint, entry.optionalFields, entry.source]),
          mounts,
        );
        for (const [, point] of mounts) {
          assert.ok(isMounted(point, table));
        }
      }),
    );
  });

  it("is refused, not misread, where it is something else", () => {
    assert.throws(
      () => parseMountTable(Buffer.from("36 35 98:0 / /mnt rw shared:1\n")),
      /not a line of mountinfo/,
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          parseMountTable(bytes);
        } catch (error) {
          assert.match((error as Error).message, /^not a line of mountinfo/);
        }
      }),
    );
  });

  it("of this process has /proc", () => {
    assert.ok(isMounted("/proc"));
    assert.ok(!isMounted("/proc/self"));
    assert.equal(readMountTable().find((entry) => entry.mountPoint === "/proc")?.fileSystemType, "proc");
  });
});
