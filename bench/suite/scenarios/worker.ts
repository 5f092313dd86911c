import { type PlainDigest, toDigest } from "../../plain-digest.ts";
import type { Metric } from "../measurements.ts";
import { MEMORY, WORKER_CPU } from "../measurements.ts";
import type { Scenario } from "../scenario.ts";
import { importVisitedRoot, readEvery } from "./visited-root.ts";

const FIRST_ACTION: Metric = { name: "start to first action", unit: "s", digits: 2 };
const PER_ACTION: Metric = { name: "time per action", unit: "ms", digits: 1 };

export const worker: Scenario<{ files: number; digest: PlainDigest }> = {
  name: "worker",
  question: "What does the worker itself cost: its start, an action that does nothing, its memory?",

  async prepare({ storage, quick, progress }) {
    const files = quick ? 5000 : 1_000_000;
    progress(`an input root of ${files} files`);
    return { files, digest: await importVisitedRoot(storage, files) };
  },

  async measure(bench, { files, digest }) {
    const root = toDigest(digest);
    const sides = bench.sides.filter(({ kind }) => kind !== "local");
    await bench.interleaved("actions", sides, async (side) => {
      bench.record("start", FIRST_ACTION, side, await side.restart("cold", bench.smallest));
      bench.record("start", MEMORY, side, side.workerMemory()!);
      for (const atOnce of bench.quick ? [1, 8] : [1, 8, 64]) {
        // Of the first few, most of the time is the compiler's.
        const each = Math.max(Math.ceil(20 / atOnce), bench.quick ? 2 : 4);
        const count = each * atOnce;
        const started = performance.now();
        let cpu = 0;
        await Promise.all(
          Array.from({ length: atOnce }, async () => {
            for (let index = 0; index < each; index++) {
              cpu += (await side.run("", bench.smallest)).workerCpu ?? 0;
            }
          }),
        );
        bench.record(
          `trivial actions, ${atOnce} at once`,
          PER_ACTION,
          side,
          (performance.now() - started) / count,
        );
        if (atOnce === 1) {
          bench.record("trivial action", WORKER_CPU, side, cpu / count);
        }
      }
      if (side.kind === "lazy") {
        await side.run(readEvery(100, files), root);
        bench.record(`1% of ${files} files read`, MEMORY, side, side.workerMemory()!);
      }
    });
  },
};
