/** A process that does one side's work: see side-messages.ts. */
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { PlainDigest } from "../plain-digest.ts";
import { bareSide } from "./bare-side.ts";
import type { Cost, SideSettings, Work } from "./side-messages.ts";
import { storeSide } from "./store-side.ts";

/** The calls that are measured. */
export interface Side {
  /** A small blob. */
  read(digest: PlainDigest): unknown;
  /** A large blob, from its beginning to its end. */
  stream(digest: PlainDigest): Promise<void>;
  upload(content: Uint8Array, hash: string): Promise<unknown>;
  close(): Promise<void>;
}

const MiB = 1024 * 1024;
const settings = JSON.parse(process.argv[2]!) as SideSettings;
const directory = mkdtempSync(join(tmpdir(), "cas-bench-"));
const side =
  settings.tree === undefined
    ? bareSide(settings)
    : await storeSide(pathToFileURL(`${settings.tree}/`), directory, settings);

async function measure(units: number, work: () => Promise<unknown>): Promise<Cost> {
  const start = performance.now();
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return {
    units,
    milliseconds: performance.now() - start,
    cpuMilliseconds: (user + system) / 1000,
    rss: process.memoryUsage.rss() / MiB,
  };
}

function run(work: Work): Promise<Cost> {
  switch (work.kind) {
    case "small": {
      const iterator = work.digests.values();
      const reader = async () => {
        for (const digest of iterator) {
          const content = side.read(digest);
          if (content instanceof Promise) {
            await content;
          }
        }
      };
      return measure(work.digests.length, () =>
        Promise.all(Array.from({ length: work.concurrency }, reader)),
      );
    }
    case "large":
      return measure(work.digest.sizeBytes / MiB, () => side.stream(work.digest));
    case "upload": {
      const content = Buffer.alloc(work.sizeBytes, randomBytes(MiB));
      const hash = createHash("sha256").update(content).digest("hex");
      return measure(work.sizeBytes / MiB, () => side.upload(content, hash));
    }
  }
}

process.on("message", async (work: Work) => {
  process.send!(await run(work));
});
process.on("disconnect", async () => {
  await side.close();
  rmSync(directory, { recursive: true, force: true });
  process.exit();
});
process.send!("ready");
