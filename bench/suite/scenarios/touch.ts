import { type PlainDigest, toDigest } from "../../plain-digest.ts";
import type { Scenario } from "../scenario.ts";
import { measureAtDistance } from "./at-a-distance.ts";
import { importVisitedRoot, readEvery } from "./visited-root.ts";

/** Where does loading lazily stop to pay? */
export const touch: Scenario<{ files: number; digest: PlainDigest }> = {
  name: "touch",
  question:
    "How long does an action take in all that reads a part of its input root, by part and by distance of the storage?",

  async prepare({ storage, quick, progress }) {
    const files = quick ? 2000 : 50_000;
    progress(`an input root of ${files} files`);
    return { files, digest: await importVisitedRoot(storage, files) };
  },

  async measure(bench, { files, digest }) {
    const root = toDigest(digest);
    const latencies = bench.quick ? [10] : [0, 1, 10, 50];
    const percentages = bench.quick ? [1, 100] : [0.1, 1, 10, 100];
    for (const latencyMilliseconds of latencies) {
      for (const percentage of percentages) {
        const title = `${percentage}% of ${files} files at ${latencyMilliseconds} ms`;
        const script = readEvery(100 / percentage, files);
        const sides = bench.variants.filter(({ kind }) => kind !== "local");
        await bench.interleaved(title, sides, (side) =>
          measureAtDistance(bench, side, title, latencyMilliseconds, () => side.run(script, root)),
        );
      }
    }
  },
};
