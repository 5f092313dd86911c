import { join } from "node:path";
import { lastLines, runProgram } from "../program.ts";
import { eachCase, type Place, type Result, type Suite, type SuiteDefinition } from "../suite.ts";

class SeekSanity implements Suite {
  readonly cases = ["all"];
  readonly #program: string;

  constructor(program: string) {
    this.#program = program;
  }

  run(cases: readonly string[], place: Place) {
    return eachCase(cases, place, async () => {
      const folder = await place.directory();
      const { status, output } = await runProgram([this.#program, join(folder, "base")], {
        folder: place.scratch,
        timeoutSeconds: 240,
      });
      const results = parseSeekSanity(output);
      // It ends with status 0 only if it got to its end and everything was right.
      const wrong =
        results.length === 0 || (status !== 0 && results.every(({ outcome }) => outcome !== "failed"));
      return wrong ? [{ test: "all", outcome: "failed", note: lastLines(output) }] : results;
    });
  }
}

/** The results in the output of xfstests' seek_sanity_test: a line for each step, such as "03.02 SEEK_DATA … succ". */
export function parseSeekSanity(output: string): Result[] {
  return [...output.matchAll(/^(\d+\.\d+) (.*?)\s*\b(succ|FAIL)\s*$/gm)].map(([, test, note, word]) =>
    word === "succ" ? { test: test!, outcome: "passed" } : { test: test!, outcome: "failed", note: note! },
  );
}

export const seekSanity: SuiteDefinition = {
  name: "seek-sanity",
  subject: "SEEK_HOLE and SEEK_DATA",
  folderOption: "xfstests",
  needs: ["src/seek_sanity_test"],
  get: "git clone https://github.com/kdave/xfstests && make -C xfstests",
  open: (folder) => new SeekSanity(join(folder, "src/seek_sanity_test")),
};
