import { lastLines, runProgram } from "../program.ts";
import { eachCase, type Place, type Result, type Suite, type SuiteDefinition } from "../suite.ts";

/** Those that work on files below --temp-path. */
const STRESSORS = [
  ..."access chattr chdir chmod chown copy-file dentry dir dirdeep dirmany dnotify dup fallocate fcntl fiemap".split(
    " ",
  ),
  ..."file-ioctl filename flock fpunch fsize fstat getdent handle hdd inode-flags inotify io iomix lease link".split(
    " ",
  ),
  ..."locka lockf lockofd mknod mmap mmapaddr open readahead rename revio seek sendfile splice symlink".split(
    " ",
  ),
  ..."sync-file touch utime verity xattr".split(" "),
];

const SECONDS = 4;
const SECONDS_ALLOWED = 90;
/** stress-ng's exit statuses: what this kernel or file system does not offer. */
const NOT_THERE = [3, 4];

class StressNg implements Suite {
  readonly cases = STRESSORS;

  run(cases: readonly string[], place: Place) {
    return eachCase(cases, place, (name) => stress(name, SECONDS, place));
  }
}

/** Runs one stressor for some seconds, with verification of what it does. */
export async function stress(name: string, seconds: number, place: Place): Promise<Result[]> {
  const temporary = await place.directory();
  const time = ["--timeout", `${seconds}s`];
  const outcome = await runProgram(
    ["stress-ng", `--${name}`, "2", "--verify", ...time, "--temp-path", temporary, "--seed", "1"],
    { folder: place.scratch, timeoutSeconds: SECONDS_ALLOWED },
  );
  const { status, output, timedOut } = outcome;
  // It also ends with status 0 when it has skipped everything.
  if (NOT_THERE.includes(status ?? 0) || /skipped stressors?: [1-9]|\bskipping stressor\b/.test(output)) {
    return [{ test: name, outcome: "skipped", note: lastLines(output, 1) }];
  }
  if (status === 0) {
    return [{ test: name, outcome: "passed" }];
  }
  const why = output.split("\n").find((line) => /fail|error/.test(line)) ?? lastLines(output);
  return [{ test: name, outcome: "failed", note: `${timedOut ? "no end" : `status ${status}`}: ${why}` }];
}

export const stressNg: SuiteDefinition = {
  name: "stress-ng",
  subject: "system calls on files under load, with --verify",
  needs: ["stress-ng"],
  get: "apt-get install stress-ng",
  open: () => new StressNg(),
};
