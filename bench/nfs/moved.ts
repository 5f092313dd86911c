/**
 * `npm run bench -- nfs-moved [GIB]`: moves as many GiB (10) by READ and then by WRITE of 1 MiB, eight at a time over one
 * connection, and prints after each what the server's process holds: heap in use after a collection, memory outside
 * of the heap, RSS.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { MemoryFileSystem, NfsServer } from "../../src/nfs/index.ts";
import { formatTable } from "../table.ts";

const MIB = 2 ** 20;
const MIB_PER_GIB = 1024;
const DEPTH = "8";
/** Longer than it takes: the load is ended when the server has served enough. */
const SECONDS = "3600";

const goal = Number(process.argv[2] ?? 10);
const directory = mkdtempSync(path.join(tmpdir(), "bench-nfs-moved-"));
const server = new NfsServer({ fileSystem: new MemoryFileSystem() });
const rows: string[][] = [];

try {
  const load = path.join(directory, "load");
  execFileSync("cc", ["-O2", "-o", load, path.join(import.meta.dirname, "load.c")], { stdio: "inherit" });
  const port = String(await server.listen());
  for (const [kind, operation] of [
    ["read1m", "READ"],
    ["write1m", "WRITE"],
  ] as const) {
    const served = () => server.statistics().operations[operation] ?? 0;
    const child = spawn(load, [port, kind, DEPTH, SECONDS], { stdio: "inherit" });
    const exited = once(child, "exit");
    for (let gib = 0; gib <= goal; gib++) {
      while (served() <= gib * MIB_PER_GIB) {
        if (child.exitCode !== null) {
          throw new Error(`the load ended with ${child.exitCode} after ${gib} GiB`);
        }
        await sleep(5);
      }
      report(`${operation} ${gib} GiB`);
    }
    child.kill();
    await exited;
  }
  console.log(formatTable(["moved", "heap", "external", "RSS"], rows));
} finally {
  await server.close();
  rmSync(directory, { recursive: true, force: true });
}

function report(moved: string): void {
  globalThis.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  rows.push([moved, ...[heapUsed, external, rss].map((bytes) => `${(bytes / MIB).toFixed(1)} MiB`)]);
}
