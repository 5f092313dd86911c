import { globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { lastLines, runProgram } from "../program.ts";
import type { CaseResults, Place, Result, Suite, SuiteDefinition } from "../suite.ts";

/** So many tests go to one call of `check`, which takes seconds to begin and to end. */
const AT_ONCE = 8;
const SECONDS_ALLOWED_PER_TEST = 150;

class Xfstests implements Suite {
  readonly cases: readonly string[];
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    this.cases = globSync("generic/[0-9][0-9][0-9]", { cwd: join(folder, "tests") })
      .filter((name) => isForNfs(readFileSync(join(folder, "tests", name), "utf8")))
      .sort();
  }

  async *run(cases: readonly string[], place: Place): AsyncGenerator<CaseResults> {
    const results = join(place.scratch, "results");
    mkdirSync(results, { recursive: true });
    const environment = {
      HOST_OPTIONS: await configure(place),
      RESULT_BASE: results,
      // Nothing mounts or watches what the tests do but they themselves.
      TMPDIR: place.scratch,
    };
    for (let first = 0; first < cases.length && performance.now() < place.deadline; first += AT_ONCE) {
      const group = cases.slice(first, first + AT_ONCE);
      const { output } = await runProgram(["./check", "-b", "--exact-order", ...group], {
        folder: this.#folder,
        environment,
        timeoutSeconds: SECONDS_ALLOWED_PER_TEST * group.length,
      });
      const found = parseCheck(output);
      for (const name of group) {
        const result = found.get(name) ?? { test: name, outcome: "failed", note: lastLines(output) };
        yield { name, results: [result] };
      }
    }
  }
}

/**
 * What a test may require that Linux's NFS client has with no server: `check` would take seconds for each to find that
 * out, and skip it.
 */
const NEVER_ON_NFS = [
  "block_device|dm_\\w+|log_writes|local_device|scratch_shutdown|metadata_journaling|freeze|fail_make_request",
  "acls|acl_get_max|\\w*quota\\w*|exportfs|open_by_handle|idmapped_mounts|renameat2|\\w*dedupe|scratch_size|bdi",
  "\\w*encryption\\w*|\\w*verity\\w*|casefold|atomic_write\\w*|scratch_write_atomic\\w*|\\w*exchange_?range\\w*",
  '(?:test_)?xfs_io_command "?(?:fiemap|fzero|fcollapse|finsert|-T|dedupe|falloc -s|exchangerange|fsmap|bulkstat)',
].join("|");
const REQUIRES_IT = new RegExp(`^\\s*_require_(?:${NEVER_ON_NFS})(?!\\w)`, "m");
const SIZES_ITS_FILE_SYSTEM = /^\s*_scratch_mkfs_(?:sized|blocksized|encrypted|verity|geom)\b/m;

/** Whether a test says of itself that it is quick, and needs nothing that NFS cannot have. */
function isForNfs(script: string): boolean {
  return (
    /^_begin_fstest\b.*\bquick\b/m.test(script) &&
    !REQUIRES_IT.test(script) &&
    !SIZES_ITS_FILE_SYSTEM.test(script)
  );
}

/** Writes what `check` must know of this place; returns the file's path. */
async function configure(place: Place): Promise<string> {
  const test = await place.remoteDirectory("test");
  const scratch = await place.remoteDirectory("scratch");
  const folders = { TEST_DIR: join(place.scratch, "test"), SCRATCH_MNT: join(place.scratch, "scratch") };
  for (const folder of Object.values(folders)) {
    mkdirSync(folder, { recursive: true });
  }
  const settings =
    test && scratch
      ? {
          ...folders,
          FSTYP: "nfs",
          TEST_DEV: test.source,
          SCRATCH_DEV: scratch.source,
          TEST_FS_MOUNT_OPTS: `-o ${test.options}`,
          NFS_MOUNT_OPTIONS: `-o ${scratch.options}`,
        }
      : { ...folders, FSTYP: "tmpfs", TEST_DEV: "test", SCRATCH_DEV: "scratch" };
  const path = join(place.scratch, "xfstests.config");
  const lines = Object.entries(settings).map(([name, value]) => `export ${name}="${value}"`);
  writeFileSync(path, `${lines.join("\n")}\n`);
  return path;
}

/** The results in what `check` prints: a line for each test, after which it tells what differed. */
export function parseCheck(output: string): Map<string, Result> {
  const results = new Map<string, Result>();
  const lines = output.split("\n");
  for (const [index, line] of lines.entries()) {
    const [, test, rest] = /^(\w+\/\d{3})\s(.*)$/.exec(line) ?? [];
    if (test === undefined || rest === undefined) {
      continue;
    }
    const [, reason] = /\[not run\](.*)$/.exec(rest) ?? /\[expunged\](.*)$/.exec(rest) ?? [];
    const told = lines.slice(index + 1, index + 40);
    const end = told.findIndex((next) => /^\w+\/\d{3}\s/.test(next));
    if (reason !== undefined) {
      results.set(test, { test, outcome: "skipped", note: reason.trim() });
    } else if (/- output mismatch|\[failed,|_check_|\bfailed\b/.test(rest)) {
      const differences = (end < 0 ? told : told.slice(0, end)).filter((next) =>
        /^\s+(\+(?!\+\+)|-(?!--))/.test(next),
      );
      const note = differences.map((next) => next.trim()).join(" / ");
      results.set(test, { test, outcome: "failed", note: (note || rest.trim()).slice(0, 300) });
    } else if (/\d+s\s*$/.test(rest)) {
      results.set(test, { test, outcome: "passed" });
    }
  }
  return results;
}

export const xfstests: SuiteDefinition = {
  name: "xfstests",
  subject: "xfstests' group generic, those that are quick and need nothing that NFS cannot have",
  folderOption: "xfstests",
  needs: ["check", "ltp/fsx", "src/seek_sanity_test", "/usr/sbin/mount.nfs"],
  get:
    "apt-get install nfs-common xfsprogs attr acl bc gawk; " +
    "git clone https://github.com/kdave/xfstests && make -C xfstests",
  open: (folder) => new Xfstests(folder),
};
