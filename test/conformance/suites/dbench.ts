import { lastLines, runProgram } from "../program.ts";
import { eachCase, type Place, type Suite, type SuiteDefinition } from "../suite.ts";

const LOADFILE = "/usr/share/dbench/client.txt";

class Dbench implements Suite {
  readonly cases = ["1 client", "4 clients"];

  run(cases: readonly string[], place: Place) {
    return eachCase(cases, place, async (name) => {
      const folder = await place.directory();
      const clients = String(Number.parseInt(name, 10));
      const { output, status } = await runProgram(
        ["dbench", "-t", "15", "-c", LOADFILE, "-D", folder, clients],
        {
          folder: place.scratch,
          timeoutSeconds: 180,
        },
      );
      // "[1234] …" is what it says of an operation that ended otherwise than the load file has it.
      const wrong = status !== 0 || !/^Throughput /m.test(output) || /^\[\d+\]|ERROR/m.test(output);
      return [
        wrong
          ? { test: name, outcome: "failed", note: lastLines(output) }
          : { test: name, outcome: "passed" },
      ];
    });
  }
}

export const dbench: SuiteDefinition = {
  name: "dbench",
  subject: "a file server's load, each answer as the load file expects it",
  needs: ["dbench", LOADFILE],
  get: "apt-get install --no-install-recommends dbench",
  open: () => new Dbench(),
};
