import { readFileSync } from "node:fs";
import { join } from "node:path";
import { lastLines, runProgram } from "../program.ts";
import { eachCase, type Place, type Result, type Suite, type SuiteDefinition } from "../suite.ts";

/** Of LTP's group "fs", those that test the file system in their temporary folder. */
const GROUP = "runtest/fs";
const OF_OTHER_THINGS = /^(proc|read_all|quota_remount|isofs|fs_fill|binfmt|squashfs|acl_)/;
/** No test of the group may go on for longer: growfiles has 120 seconds in places. */
const LONGEST_SECONDS = 10;
const SECONDS_ALLOWED = 120;
const CONFIGURATION_FAILED = 32;

class Ltp implements Suite {
  readonly cases: readonly string[];
  readonly #folder: string;
  readonly #commands: ReadonlyMap<string, string>;

  constructor(folder: string) {
    this.#folder = folder;
    this.#commands = parseGroup(readFileSync(join(folder, GROUP), "utf8"));
    this.cases = [...this.#commands.keys()].filter((name) => !OF_OTHER_THINGS.test(name));
  }

  run(cases: readonly string[], place: Place) {
    return eachCase(cases, place, async (name): Promise<Result[]> => {
      const folder = await place.directory();
      const { status, output, timedOut } = await runProgram(
        ["sh", "-c", shorten(this.#commands.get(name)!)],
        {
          folder,
          environment: {
            TMPDIR: folder,
            LTPROOT: this.#folder,
            PATH: `${join(this.#folder, "testcases/bin")}:${process.env.PATH}`,
          },
          timeoutSeconds: SECONDS_ALLOWED,
        },
      );
      if (status === 0) {
        return [{ test: name, outcome: "passed" }];
      }
      const note = `${timedOut ? "no end" : `status ${status}`}: ${lastLines(output)}`;
      return [{ test: name, outcome: status === CONFIGURATION_FAILED ? "skipped" : "failed", note }];
    });
  }
}

/** The commands, by name, of a file of LTP's `runtest/`. */
export function parseGroup(text: string): Map<string, string> {
  return new Map([...text.matchAll(/^(?!#)(\S+)\s+(.+)$/gm)].map(([, name, command]) => [name!, command!]));
}

/** The command with its options for a duration cut. */
export function shorten(command: string): string {
  return command.replaceAll(/(\s-L |\s-i (?=\d+s))(\d+)/g, (_, option: string, seconds: string) => {
    return `${option}${Math.min(Number(seconds), LONGEST_SECONDS)}`;
  });
}

export const ltp: SuiteDefinition = {
  name: "ltp",
  subject: `LTP's group fs, without what is not about the file system, none longer than ${LONGEST_SECONDS} s`,
  folderOption: "ltp",
  needs: [GROUP, "testcases/bin/growfiles", "testcases/bin/ftest01"],
  get:
    "git clone https://github.com/linux-test-project/ltp && cd ltp && make autotools && ./configure --prefix DIR && " +
    "for d in lib libs testcases/lib testcases/kernel/fs runtest; do make -C $d && make -C $d install; done",
  open: (folder) => new Ltp(folder),
};
