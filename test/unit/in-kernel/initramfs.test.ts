import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { initramfs, modulesWithDependencies } from "../../../src/in-kernel/initramfs.ts";

const HEADER_BYTES = 110;
const align = (offset: number) => (offset + 3) & ~3;

/** The entries of a cpio archive, as the kernel's Documentation/driver-api/early-userspace/buffer-format.rst has it. */
function unpack(archive: Buffer): { name: string; mode: number; content: string }[] {
  const entries = [];
  for (let offset = 0; ; ) {
    const field = (index: number) =>
      Number.parseInt(archive.toString("latin1", offset + 6 + 8 * index, offset + 14 + 8 * index), 16);
    assert.equal(archive.toString("latin1", offset, offset + 6), "070701");
    const [mode, size, nameBytes] = [field(1), field(6), field(11)];
    const name = archive.toString("latin1", offset + HEADER_BYTES, offset + HEADER_BYTES + nameBytes - 1);
    const content = align(offset + HEADER_BYTES + nameBytes);
    if (name === "TRAILER!!!") {
      assert.equal(content, archive.length);
      return entries;
    }
    entries.push({ name, mode, content: archive.toString("latin1", content, content + size) });
    offset = align(content + size);
  }
}

describe("an initramfs", () => {
  const folder = mkdtempSync(join(tmpdir(), "initramfs-"));
  after(() => rmSync(folder, { recursive: true }));

  it("has the program, the modules, and the order in which to load them", () => {
    mkdirSync(join(folder, "kernel"));
    for (const [name, content] of [
      ["kernel/fuse.ko", "fu"],
      ["kernel/virtiofs.ko.xz", "virtiofs"],
      ["program", "#!"],
    ] as const) {
      writeFileSync(join(folder, name), content);
    }
    const modules = ["kernel/fuse.ko", "kernel/virtiofs.ko.xz"].map((name) => join(folder, name));
    assert.deepEqual(unpack(initramfs(join(folder, "program"), modules)), [
      { name: "init", mode: 0o100755, content: "#!" },
      { name: "fuse.ko", mode: 0o100644, content: "fu" },
      { name: "virtiofs.ko.xz", mode: 0o100644, content: "virtiofs" },
      { name: "modules", mode: 0o100644, content: "fuse.ko\nvirtiofs.ko.xz\n" },
    ]);
  });

  it("has each module after those that it needs, and none that is built in", () => {
    writeFileSync(
      join(folder, "modules.dep"),
      `kernel/virtio_pci.ko: kernel/virtio-legacy.ko kernel/virtio.ko kernel/ring.ko
kernel/virtio.ko: kernel/ring.ko
kernel/fs/virtio-fs.ko.xz: kernel/fuse.ko kernel/virtio.ko kernel/ring.ko
kernel/ring.ko:
`,
    );
    const found = modulesWithDependencies(folder, ["virtio_pci", "built_in", "ring", "virtio_fs"]);
    assert.deepEqual(
      found.map((path) => path.slice(folder.length + 1)),
      [
        ...["kernel/ring.ko", "kernel/virtio.ko", "kernel/virtio-legacy.ko", "kernel/virtio_pci.ko"],
        ...["kernel/fuse.ko", "kernel/fs/virtio-fs.ko.xz"],
      ],
    );
  });
});
