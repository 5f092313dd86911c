import { randomFillSync } from "node:crypto";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PlainDigest, toDigest, toPlain } from "../../plain-digest.ts";
import type { Scenario } from "../scenario.ts";

export const stream: Scenario<{ mebibytes: number; digest: PlainDigest }> = {
  name: "stream",
  question: "How fast are large files read, written, copied and uploaded?",

  async prepare(preparation) {
    const mebibytes = preparation.quick ? 32 : 1024;
    preparation.progress(`a file of ${mebibytes} MiB`);
    const folder = mkdtempSync(join(tmpdir(), "stream-"));
    try {
      const path = join(folder, "large");
      writeRandom(path, mebibytes);
      return { mebibytes, digest: toPlain(await preparation.systemWithFile("large", path)) };
    } finally {
      rmSync(folder, { recursive: true });
    }
  },

  async measure(bench, { mebibytes, digest }) {
    const root = toDigest(digest);
    await bench.interleaved(`${mebibytes} MiB`, bench.sides, async (side) => {
      await side.restart("cold", bench.smallest);
      const measure = async (name: string, script: string, outputs?: string[]) =>
        bench.recordCost(`${mebibytes} MiB ${name}`, side, await side.run(script, root, outputs));
      await measure("read, cold", "cat /large | wc -c");
      await measure("read, again", "cat /large | wc -c");
      await measure("copied", "cp --reflink=never /large /copy");
      await measure("written", `head -c ${mebibytes}M /large > /new`);
      await measure("written and uploaded", "(date +%s%N; cat /large) > /new", ["new"]);
    });
  },
};

function writeRandom(path: string, mebibytes: number): void {
  const piece = Buffer.alloc(1024 * 1024);
  const file = openSync(path, "wx");
  for (let index = 0; index < mebibytes; index++) {
    writeSync(file, randomFillSync(piece));
  }
  closeSync(file);
}
