import { type PlainDigest, toDigest } from "../../plain-digest.ts";
import type { Scenario } from "../scenario.ts";
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
        await bench.interleaved(title, sides, async (side) => {
          await side.restart("cold", bench.smallest);
          bench.distance.latencyMilliseconds = latencyMilliseconds;
          try {
            bench.recordCost(`${title}, cold`, side, await side.run(script, root));
            bench.recordCost(`${title}, again`, side, await side.run(script, root));
            if (side.prefetches) {
              // Cold once more, but now there is a profile.
              bench.distance.latencyMilliseconds = 0;
              await side.restart("cold", bench.smallest);
              bench.distance.latencyMilliseconds = latencyMilliseconds;
              bench.recordCost(`${title}, cold, with a profile`, side, await side.run(script, root));
            }
          } finally {
            bench.distance.latencyMilliseconds = 0;
          }
        });
      }
    }
  },
};
