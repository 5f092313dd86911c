import { globSync } from "node:fs";
import { join } from "node:path";
import { lastLines, runProgram } from "../program.ts";
import { eachCase, type Place, type Suite, type SuiteDefinition } from "../suite.ts";
import { parseTap } from "../tap.ts";

/** Many of its tests only sleep until a file's time must differ. */
const AT_ONCE = 6;

class Pjdfstest implements Suite {
  readonly cases: readonly string[];
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    this.cases = globSync("*/*.t", { cwd: join(folder, "tests") })
      .filter((name) => !name.startsWith("granular/"))
      .sort();
  }

  run(cases: readonly string[], place: Place) {
    const one = async (name: string) => {
      const folder = await place.directory();
      const script = join(this.#folder, "tests", name);
      const { output, status, timedOut } = await runProgram(["sh", script], { folder, timeoutSeconds: 600 });
      const results = parseTap(output, `${name} `);
      return status === 0 && results.length > 0
        ? results
        : [
            ...results,
            {
              test: `${name} end`,
              outcome: "failed",
              note: timedOut ? "no end" : lastLines(output),
            } as const,
          ];
    };
    return eachCase(cases, place, one, AT_ONCE);
  }
}

export const pjdfstest: SuiteDefinition = {
  name: "pjdfstest",
  subject: "POSIX: names, permissions, ownership, times, by root and other users",
  folderOption: "pjdfstest",
  needs: ["pjdfstest", "tests/conf"],
  get: "git clone https://github.com/pjd/pjdfstest && cd pjdfstest && autoreconf -ifs && ./configure && make",
  open: (folder) => new Pjdfstest(folder),
};
