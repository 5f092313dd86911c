import { type PlainDigest, toDigest } from "../../plain-digest.ts";
import type { Scenario } from "../scenario.ts";
import type { Side } from "../side.ts";
import { importVisitedRoot } from "./visited-root.ts";

interface Root {
  readonly files: number;
  readonly digest: PlainDigest;
}

/** More would take hours. */
const MOST_HARD_LINKS = 100_000;

/** With nothing in any cache, and again. */
export const start: Scenario<Root[]> = {
  name: "start",
  question:
    "How long until the command runs, and what is moved for it, by the number of files in the input root?",

  async prepare({ storage, quick, progress }) {
    const roots: Root[] = [];
    for (const files of quick ? [1000, 4000] : [1000, 10_000, 100_000, 1_000_000]) {
      progress(`an input root of ${files} files`);
      roots.push({ files, digest: await importVisitedRoot(storage, files) });
    }
    return roots;
  },

  async measure(bench, roots) {
    for (const { files, digest } of roots) {
      const root = toDigest(digest);
      const wanted = (side: Side) =>
        side.kind === "lazy" || (side.kind === "hard links" && files <= MOST_HARD_LINKS);
      await bench.interleaved(`${files} files`, bench.sides.filter(wanted), async (side) => {
        await side.restart("cold", bench.smallest);
        bench.recordCost(`${files} files, cold`, side, await side.run("", root));
        bench.recordCost(`${files} files, again`, side, await side.run("", root));
      });
    }
  },
};
