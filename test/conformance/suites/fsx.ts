import { join } from "node:path";
import { resultByStatus, runProgram } from "../program.ts";
import { eachCase, type Place, type Suite, type SuiteDefinition } from "../suite.ts";

/** The options of each variant; every one has its own seed, so that they differ in more than their options. */
const VARIANTS: Readonly<Record<string, readonly string[]>> = {
  "all operations": [],
  "no mmap": ["-R", "-W"],
  "no mapped writes": ["-W"],
  "no mapped reads": ["-R"],
  "only read, write, truncate": ["-F", "-H", "-z", "-C", "-I", "-J", "-B", "-E"],
  "page-aligned": ["-r", "4096", "-w", "4096", "-t", "4096"],
  "direct I/O": ["-Z", "-R", "-W", "-r", "4096", "-w", "4096"],
  "closed and opened again": ["-c", "20"],
  "invalidated after each operation": ["-f"],
  synchronized: ["-y"],
  AIO: ["-A", "-R", "-W"],
  "file size stays": ["-L"],
  "large operations": ["-l", "8000000", "-o", "2000000"],
  "small truncates": ["-s", "1"],
};

const OPERATIONS = 2000;
const SECONDS_ALLOWED = 120;

class Fsx implements Suite {
  readonly cases = Object.keys(VARIANTS);
  readonly #program: string;

  constructor(program: string) {
    this.#program = program;
  }

  run(cases: readonly string[], place: Place) {
    return eachCase(cases, place, async (name) => {
      // -L works on the content that is there. In a tree of inputs, every variant begins with a blob of the CAS.
      const needsFile = place.inputs || name === "file size stays";
      const folder = await place.directory(needsFile ? { file: Buffer.alloc(200_000, "input") } : {});
      const seed = this.cases.indexOf(name) + 1;
      const options = ["-q", "-S", String(seed), "-P", place.scratch, ...VARIANTS[name]!];
      const operations = name === "large operations" ? OPERATIONS / 10 : OPERATIONS;
      const outcome = await runProgram([this.#program, ...options, "-N", String(operations), "file"], {
        folder,
        timeoutSeconds: SECONDS_ALLOWED,
      });
      return [resultByStatus(name, outcome)];
    });
  }
}

export const fsx: SuiteDefinition = {
  name: "fsx",
  subject: "random operations on one file, checked against a model in memory",
  folderOption: "xfstests",
  needs: ["ltp/fsx"],
  get: "git clone https://github.com/kdave/xfstests && make -C xfstests",
  open: (folder) => new Fsx(join(folder, "ltp/fsx")),
};
