import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { lastLines, runProgram } from "../program.ts";
import { eachCase, type Place, type Result, type Suite, type SuiteDefinition } from "../suite.ts";

const SECONDS_ALLOWED = 3600;

class Pynfs implements Suite {
  readonly cases = ["all"];
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  run(cases: readonly string[], place: Place) {
    return eachCase(cases, place, async () => {
      const { source, port } = (await place.remoteDirectory("pynfs"))!;
      const json = join(place.scratch, "pynfs.json");
      rmSync(json, { force: true });
      const [suite, minor] = place.version === "4.0" ? ["nfs4.0", "0"] : ["nfs4.1", place.version.slice(2)];
      const { output } = await runProgram(
        [
          "./testserver.py",
          source.replace(":/", `:${port}/`),
          "--maketree",
          `--minorversion=${minor}`,
          `--json=${json}`,
          "all",
        ],
        {
          folder: join(this.#folder, suite),
          // Debian's Python has the modules that Debian's packages bring.
          environment: { PATH: `/usr/bin:${process.env.PATH}` },
          timeoutSeconds: SECONDS_ALLOWED,
        },
      );
      const text = existsSync(json) ? readFileSync(json, "utf8") : "";
      return text === "" ? [{ test: "all", outcome: "failed", note: lastLines(output) }] : parsePynfs(text);
    });
  }
}

interface TestCase {
  readonly code: string;
  readonly skipped?: unknown;
  readonly failure?: { readonly message?: string };
  readonly error?: { readonly message?: string };
}

/** The results in what pynfs writes with `--json`. Those that were not asked for, as they are not in "all", are left out. */
export function parsePynfs(json: string): Result[] {
  const { testcase } = JSON.parse(json) as { testcase: readonly TestCase[] };
  return testcase
    .filter(({ skipped }) => skipped === undefined)
    .map(({ code, failure, error }): Result => {
      const wrong = failure ?? error;
      return wrong === undefined
        ? { test: code, outcome: "passed" }
        : { test: code, outcome: "failed", note: (wrong.message ?? "").slice(0, 300) };
    });
}

export const pynfs: SuiteDefinition = {
  name: "pynfs",
  subject: "the protocol itself, by a client of its own: no kernel is needed",
  folderOption: "pynfs",
  needs: ["nfs4.1/testserver.py", "nfs4.1/xdrdef/nfs4_pack.py", "nfs4.0/testserver.py"],
  get:
    "apt-get install python3-ply python3-gssapi python3-setuptools; " +
    "git clone https://github.com/kofemann/pynfs && cd pynfs && /usr/bin/python3 setup.py build",
  protocolOnly: true,
  open: (folder) => new Pynfs(folder),
};
