import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { findProgram } from "../../../src/in-kernel/find-program.ts";
import { findQemu } from "../../../src/in-kernel/qemu-installation.ts";

describe("QEMU and its kernel", () => {
  const { PATH, XDG_CACHE_HOME } = process.env;
  let folder: string;

  const program = (name: string) => {
    writeFileSync(join(folder, "bin", name), "");
    chmodSync(join(folder, "bin", name), 0o755);
  };
  const file = (path: string) => {
    mkdirSync(join(folder, path, ".."), { recursive: true });
    writeFileSync(join(folder, path), "");
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "qemu-"));
    mkdirSync(join(folder, "bin"));
    process.env.PATH = join(folder, "bin");
    process.env.XDG_CACHE_HOME = join(folder, "cache");
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
    Object.assign(process.env, { PATH });
    if (XDG_CACHE_HOME === undefined) {
      delete process.env.XDG_CACHE_HOME;
    } else {
      process.env.XDG_CACHE_HOME = XDG_CACHE_HOME;
    }
  });

  it("are found, the kernel as a fetched package or as a folder", () => {
    program("qemu-system-x86_64");
    program("virtiofsd");
    file("cache/bb-worker-nfs4/kernels/linux-image-x/boot/vmlinuz-6.1.0-x");
    file("cache/bb-worker-nfs4/kernels/linux-image-x/lib/modules/6.1.0-x/modules.dep");
    const found = findQemu("linux-image-x");
    assert.equal(found.emulator, join(folder, "bin/qemu-system-x86_64"));
    const kernel = join(folder, "cache/bb-worker-nfs4/kernels/linux-image-x");
    assert.deepEqual(found.kernel, {
      image: join(kernel, "boot/vmlinuz-6.1.0-x"),
      version: "6.1.0-x",
      modules: join(kernel, "lib/modules"),
    });
    assert.deepEqual(findQemu(kernel), found);
  });

  it("are asked for by the names of their packages", () => {
    assert.throws(() => findQemu(), /qemu-system-x86_64 is missing .*: apt-get install .* qemu-system-x86$/);
    program("qemu-system-x86_64");
    program("virtiofsd");
    assert.throws(() => findQemu(), /no kernel .*: npm run fetch-kernel -- linux-image-cloud-amd64$/);
    assert.throws(() => findQemu(folder), /no kernel .*: expected a folder/);
    file("boot/vmlinuz-6.1.0-x");
    assert.throws(() => findQemu(folder), /modules.dep: depmod --basedir .* 6\.1\.0-x$/);
  });

  it("are programs only if they can be executed", () => {
    program("tool");
    assert.equal(findProgram("tool"), join(folder, "bin/tool"));
    chmodSync(join(folder, "bin/tool"), 0o644);
    assert.equal(findProgram("tool"), undefined);
  });
});
