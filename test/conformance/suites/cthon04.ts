import { join } from "node:path";
import { lastLines, runProgram } from "../program.ts";
import { eachCase, type Place, type Suite, type SuiteDefinition } from "../suite.ts";

class Cthon04 implements Suite {
  readonly cases = ["basic", "general", "special", "lock"];
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  run(cases: readonly string[], place: Place) {
    return eachCase(cases, place, async (name) => {
      // Its scripts make the directory themselves.
      const directory = join(await place.directory(), "cthon");
      const { status, output, timedOut } = await runProgram(
        ["sh", "runtests", ...(name === "basic" || name === "lock" ? ["-f"] : [])],
        {
          folder: join(this.#folder, name),
          environment: { NFSTESTDIR: directory, MNTOPTIONS: `vers=${place.version}` },
          timeoutSeconds: 240,
        },
      );
      // Some of its scripts say so with status 0.
      const wrong = status !== 0 || /\bfailed\b|can't /i.test(output);
      const note = `${timedOut ? "no end" : `status ${status}`}: ${lastLines(output, 6)}`;
      return [wrong ? { test: name, outcome: "failed", note } : { test: name, outcome: "passed" }];
    });
  }
}

export const cthon04: SuiteDefinition = {
  name: "cthon04",
  subject: "the Connectathon suite: basic, general, special, lock",
  folderOption: "cthon04",
  needs: ["basic/test9", "special/telldir", "lock/tlocklfs", "lock/tlock64"],
  get:
    "git clone https://github.com/phdeniel/cthon04 && cd cthon04 && make LIBS='-ltirpc -lm' " +
    "CFLAGS='-DLINUX -DHAVE_SOCKLEN_T -DGLIBC=22 -DMMAP -DSTDARG -fcommon -w -I/usr/include/tirpc'",
  open: (folder) => new Cthon04(folder),
};
