/**
 * What files that actions write cost in the file tree, without NFS: many small ones, and a few large ones in a folder.
 * Usage: `node --expose-gc bench/vfs/write.ts [FILES]`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RegularFile } from "../../src/nfs/file-system.ts";
import { DirectoryFilePool, FileTree, type WritableFile } from "../../src/vfs/index.ts";
import { makeInputRoot } from "./input-root.ts";

const fileCount = Number(process.argv[2] ?? 50_000);
const LARGE_BYTES = 1024 ** 3;
const WRITE_BYTES = 1024 ** 2;
const user = { userId: 0, groupId: 0, supplementaryGroupIds: [] };

const folder = mkdtempSync(join(tmpdir(), "bench-vfs-"));
const { source, digest } = makeInputRoot(fileCount);
const tree = new FileTree({ source, pool: new DirectoryFilePool(folder) });

function heapBytes(): number {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

async function measure(what: string, count: number, operation: () => Promise<void>): Promise<void> {
  const before = heapBytes();
  const start = performance.now();
  await operation();
  const milliseconds = performance.now() - start;
  const bytes = heapBytes() - before;
  console.log(
    `${what.padEnd(40)} ${Math.round(count / (milliseconds / 1000))
      .toLocaleString("en")
      .padStart(9)} /s ${(bytes / count).toFixed(0).padStart(6)} bytes of memory each`,
  );
}

const build = tree.createBuildDirectory("action");
const out = await build.makeDirectories(["out"]);
const data = Buffer.alloc(100, "x");
await measure("create a file and write 100 bytes", fileCount, async () => {
  for (let i = 0; i < fileCount; i++) {
    const file = await out.createFile(`file-${i}`, user, { mode: 0o644 });
    await file.write(0, data, false);
  }
});

const root = await build.attachInputRoot(["root"], digest);
const names: string[] = [];
await root.readDirectory(0, (name) => names.push(name) > 0);
const copies = await build.makeDirectories(["copies"]);
await measure("a private copy of an input, unmodified", fileCount, async () => {
  const file = (await root.lookup(names[0]!)) as RegularFile;
  const copy = (await root.openForWriting(names[0]!, file, false)) as WritableFile;
  for (let i = 0; i < fileCount; i++) {
    const clone = await copies.createFile(`file-${i}`, user, { mode: 0o644 });
    await clone.cloneRange(copy, 0, 0, copy.digest!.sizeBytes);
  }
});

const large = await out.createFile("large", user, {});
const megabyte = Buffer.alloc(WRITE_BYTES, "x");
await measure("write 1 MiB to a large file", LARGE_BYTES / WRITE_BYTES, async () => {
  for (let offset = 0; offset < LARGE_BYTES; offset += WRITE_BYTES) {
    await large.write(offset, megabyte, false);
  }
});
await measure("read 1 MiB of a large file", LARGE_BYTES / WRITE_BYTES, async () => {
  for (let offset = 0; offset < LARGE_BYTES; offset += WRITE_BYTES) {
    await large.read(offset, WRITE_BYTES);
  }
});
await build.remove();
rmSync(folder, { recursive: true });
