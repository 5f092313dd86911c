/** `npm run conformance -- --help` */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, isAbsolute, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Job, Line } from "./inside.ts";
import { whyNoKernelServer } from "./kernel-server.ts";
import { makeReport, OURS, replaceReport, toMarkdown } from "./report.ts";
import { KeptResults } from "./results.ts";
import type { CaseResults, SuiteDefinition } from "./suite.ts";
import { SUITES } from "./suites/index.ts";
import { describeFileSystems, TARGETS, type Target, targetName } from "./targets.ts";

const REPOSITORY = resolve(import.meta.dirname, "../..");
const DOCUMENT = join(REPOSITORY, "docs/conformance.md");
const FOLDER_OPTIONS = [...new Set(SUITES.flatMap(({ folderOption }) => folderOption ?? []))];
/** A boot may take so much longer than its cases were given: the last case goes on to its own time-out. */
const GRACE_SECONDS = 300;
/** Of the failures of one boot; all are kept. */
const FAILURES_SHOWN = 20;

const HELP = `Usage: npm run conformance -- [OPTION…] SUITE…

Runs public file-system suites through the kernel's NFS client, on our file systems and beside them on
the kernel's own, and prints one table: passed / failed / skipped, and what failed here but not there.
Needs root. Where this machine's kernel has no NFS client, suites run in user-mode Linux.

Suites, or "all":
${SUITES.map(({ name, subject }) => `  ${name.padEnd(12)}${subject}`).join("\n")}

File systems, each with vers=4.0, 4.1 and 4.2 (tmpfs without):
${describeFileSystems()}

Where suites are, in folders in which they have been built:
${FOLDER_OPTIONS.map((name) => `  --${`${name} DIR`.padEnd(18)}${SUITES.find((suite) => suite.folderOption === name)!.get}`).join("\n")}
All others come from packages: apt-get install --no-install-recommends stress-ng fio dbench

  --on NAMES          only these file systems, separated by commas
  --vers VERSIONS     only these versions of NFS, separated by commas
  --only TEXT         only cases whose name contains TEXT; may be repeated
  --passed-on NAME    only cases that passed on NAME (tmpfs, or nfsd with the same version), as kept
  --resume            leave out cases of which results are kept
  --results DIR       where results are kept; default node_modules/.cache/conformance
  --table             run nothing, print the table of what is kept
  --write             put the table into docs/conformance.md, too
  --seconds NUMBER    start no case in a kernel that has been at it for so long, but boot anew; default 240
  --behind COMMAND    start each kernel by this command, for example one that waits for its turn
  --help              this text

Status 0: nothing failed here but not there, except for known reasons. 1: something did. 2: it could not run.`;

class UsageError extends Error {}
class Interruption extends Error {}

interface Plan {
  readonly definition: SuiteDefinition;
  readonly folder: string;
  readonly target: Target;
  readonly cases: readonly string[];
}

const { values, positionals } = parseOptions();

function parseOptions() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        on: { type: "string" },
        vers: { type: "string" },
        only: { type: "string", multiple: true, default: [] },
        "passed-on": { type: "string" },
        resume: { type: "boolean", default: false },
        results: { type: "string", default: join(REPOSITORY, "node_modules/.cache/conformance") },
        table: { type: "boolean", default: false },
        write: { type: "boolean", default: false },
        seconds: { type: "string", default: "240" },
        behind: { type: "string" },
        help: { type: "boolean", default: false },
        ...Object.fromEntries(FOLDER_OPTIONS.map((name) => [name, { type: "string" } as const])),
      },
    });
  } catch (error) {
    console.error(`conformance: ${(error as Error).message}\nSee npm run conformance -- --help`);
    process.exit(2);
  }
}

async function main(): Promise<number> {
  if (values.help || (positionals.length === 0 && !values.table)) {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  const kept = new KeptResults(resolve(values.results));
  const plans = values.table ? [] : makePlans(kept);
  for (const plan of plans) {
    await carryOut(plan, kept);
  }
  const report = makeReport(
    SUITES.map(({ name }) => name),
    kept,
  );
  const markdown = toMarkdown(report);
  console.log(markdown);
  if (values.write) {
    writeFileSync(DOCUMENT, replaceReport(readFileSync(DOCUMENT, "utf8"), markdown));
    console.error(`conformance: wrote the table into ${DOCUMENT}`);
  }
  return report.differences.some(({ reason }) => reason === undefined) ? 1 : 0;
}

/** What is to be run. Throws before anything runs if a suite is missing. */
function makePlans(kept: KeptResults): Plan[] {
  const targets = chosenTargets();
  return chosenSuites().flatMap((definition) => {
    const folder = findSuite(definition);
    const { cases } = definition.open(folder);
    return targets
      .filter(({ fileSystem }) => !definition.protocolOnly || OURS.some((name) => name === fileSystem))
      .map((target) => ({
        definition,
        folder,
        target,
        cases: cases.filter((name) => isWanted(name, definition, target, kept)),
      }));
  });
}

function isWanted(
  name: string,
  { name: suite }: SuiteDefinition,
  target: Target,
  kept: KeptResults,
): boolean {
  const { only, resume, "passed-on": reference } = values;
  if (only.length > 0 && !only.some((text) => name.includes(text))) {
    return false;
  }
  if (resume && name in kept.read(suite, target).cases) {
    return false;
  }
  if (reference === undefined) {
    return true;
  }
  const other = TARGETS.find(
    ({ fileSystem, version }) =>
      fileSystem === reference && (version === target.version || fileSystem === "tmpfs"),
  );
  const results = other && kept.read(suite, other).cases[name];
  return results?.some(({ outcome }) => outcome === "passed") ?? false;
}

function chosenSuites(): readonly SuiteDefinition[] {
  if (positionals.includes("all")) {
    return SUITES;
  }
  return positionals.map((wanted) => {
    const found = SUITES.find(({ name }) => name === wanted);
    if (!found) {
      throw new UsageError(
        `there is no suite ${wanted}; there are ${SUITES.map(({ name }) => name).join(", ")}`,
      );
    }
    return found;
  });
}

function chosenTargets(): readonly Target[] {
  const names = values.on?.split(",");
  const versions = values.vers?.split(",");
  const known = new Set<string>(TARGETS.flatMap(({ fileSystem, version }) => [fileSystem, version]));
  const unknown = [...(names ?? []), ...(versions ?? [])].find((name) => !known.has(name));
  if (unknown !== undefined) {
    throw new UsageError(
      `--on, --vers: ${unknown} is neither a file system nor a version that is known here`,
    );
  }
  const targets = TARGETS.filter(
    ({ fileSystem, version }) =>
      (names?.includes(fileSystem) ?? true) && (version === "" || (versions?.includes(version) ?? true)),
  );
  const why = targets.some(({ fileSystem }) => fileSystem === "nfsd") ? whyNoKernelServer() : undefined;
  if (why !== undefined && names?.includes("nfsd")) {
    throw new UsageError(why);
  }
  if (why !== undefined) {
    console.error(`conformance: without nfsd beside ours: ${why}`);
  }
  return why === undefined ? targets : targets.filter(({ fileSystem }) => fileSystem !== "nfsd");
}

/** The suite's folder, or "" if it is on the PATH. */
function findSuite({ name, folderOption, needs, get }: SuiteDefinition): string {
  const given = folderOption && (values as Record<string, unknown>)[folderOption];
  if (folderOption !== undefined && typeof given !== "string") {
    throw new UsageError(`${name} needs --${folderOption} DIR, a folder made by: ${get}`);
  }
  const folder = typeof given === "string" ? resolve(given) : "";
  const path = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  const missing = needs.find((file) =>
    isAbsolute(file)
      ? !existsSync(file)
      : folder !== ""
        ? !existsSync(join(folder, file))
        : !path.some((entry) => existsSync(join(entry, file))),
  );
  if (missing !== undefined) {
    const where = folder !== "" && !isAbsolute(missing) ? ` in ${folder}` : "";
    throw new UsageError(`${name}: there is no ${missing}${where}; get it by: ${get}`);
  }
  return folder;
}

/** Runs a plan's cases, in as many boots as it takes. */
async function carryOut({ definition, folder, target, cases }: Plan, kept: KeptResults): Promise<void> {
  const title = `${definition.name} on ${targetName(target)}`;
  let remaining = [...cases];
  while (remaining.length > 0) {
    console.error(`conformance: ${title}: ${cases.length - remaining.length} of ${cases.length} cases done`);
    const job = { suite: definition.name, folder, target, cases: remaining };
    const { found, failure } = await boot(job, definition.protocolOnly ?? false);
    const first = remaining[0]!;
    if (found.length === 0) {
      // Nobody can say what it did to the kernel or the server; the next ones get new ones.
      const note = failure ?? "no case ended before the kernel did";
      found.push({ name: first, results: [{ test: first, outcome: "failed", note }] });
    }
    kept.add(definition.name, target, found, { first, ...(failure !== undefined && { failure }) });
    const results = found.flatMap((one) => one.results);
    const failures = results.filter(({ outcome }) => outcome === "failed");
    for (const { test, note } of failures.slice(0, FAILURES_SHOWN)) {
      console.error(`  failed: ${test}: ${note}`);
    }
    if (failures.length > FAILURES_SHOWN) {
      console.error(`  and ${failures.length - FAILURES_SHOWN} more`);
    }
    if (failure !== undefined) {
      console.error(`  ${failure}`);
    }
    const done = new Set(found.map(({ name }) => name));
    remaining = remaining.filter((name) => !done.has(name));
  }
  console.error(`conformance: ${title}: done`);
}

/** Has a kernel, or with `here` this machine's own, run cases until its time is over. `failure`: what is wrong with the server or the kernel. */
async function boot(
  job: Omit<Job, "seconds" | "resultsFile">,
  here: boolean,
): Promise<{ found: CaseResults[]; failure?: string }> {
  const out = mkdtempSync(join(tmpdir(), "conformance-"));
  const resultsFile = join(out, "results");
  const jobFile = join(out, "job");
  const seconds = Number(values.seconds);
  writeFileSync(resultsFile, "");
  writeFileSync(jobFile, JSON.stringify({ ...job, seconds, resultsFile } satisfies Job));
  mkdirSync(join(REPOSITORY, "node_modules/.cache"), { recursive: true });
  try {
    const launcher = [process.execPath, join(REPOSITORY, "src/in-kernel/main.ts"), "--quiet"];
    const limits = ["--timeout", String(seconds + GRACE_SECONDS), "--memory", "4G", "--out", out];
    const program = [process.execPath, "--no-warnings", join(import.meta.dirname, "inside.ts"), jobFile];
    const kernel = [...(values.behind?.split(" ") ?? []), ...launcher, ...limits, "--"];
    const status = await run(here ? program : [...kernel, ...program]);
    const lines = readFileSync(resultsFile, "utf8")
      .split("\n")
      .filter((line) => line.endsWith("}"))
      .map((line) => JSON.parse(line) as Line);
    const found = lines.filter((line) => "name" in line);
    const told = lines.find((line) => "targetFailed" in line)?.targetFailed;
    const failure =
      told ?? (status === 0 ? undefined : `the kernel or the runner ended with status ${status}`);
    return { found, ...(failure !== undefined && { failure }) };
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

function run([command, ...args]: readonly string[]): Promise<number> {
  // A group of its own, as a command given by --behind may start the kernel's launcher rather than become it.
  const child = spawn(command!, args, {
    stdio: ["ignore", "inherit", "inherit"],
    detached: true,
    env: { ...process.env, NODE_COMPILE_CACHE: join(REPOSITORY, "node_modules/.cache/compile") },
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    let endedBy: NodeJS.Signals | undefined;
    const end = (signal: NodeJS.Signals) => {
      endedBy = signal;
      process.kill(-child.pid!, signal);
    };
    process.on("SIGINT", end).on("SIGTERM", end);
    child.once("exit", (status) => {
      process.off("SIGINT", end).off("SIGTERM", end);
      if (endedBy === undefined) {
        resolve(status ?? 1);
      } else {
        reject(new Interruption(`ended by ${endedBy}`));
      }
    });
  });
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError || error instanceof Interruption)) {
    throw error;
  }
  console.error(`conformance: ${error.message}`);
  process.exitCode = 2;
}
