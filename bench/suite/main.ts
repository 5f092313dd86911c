/**
 * `npm run bench`: what does lazy loading over NFSv4 cost and save against hard links, FUSE and a local directory? See
 * README.md beside this file.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { EmbeddedStorage } from "../../src/cluster/storage/embedded-storage.ts";
import { runInKernel } from "../../src/in-kernel/run-in-kernel.ts";
import type { Results } from "./measurements.ts";
import { Preparation } from "./preparation.ts";
import { htmlReport } from "./report/html.ts";
import { terminalReport } from "./report/terminal.ts";
import { SCENARIOS } from "./scenarios/index.ts";
import { importVisitedRoot } from "./scenarios/visited-root.ts";
import { peerSides } from "./sides.ts";
import type { SuitePlan } from "./suite-plan.ts";

const HELP = `Usage: npm run bench [-- OPTION… SCENARIO…]

Measures workers beside each other, in one kernel with an NFS client, action by action in turn. Without names, all
scenarios:
${SCENARIOS.map(({ name, question }) => `  ${name.padEnd(10)}${question}`).join("\n")}

  --quick           small input roots, once each: a few minutes. Without it: hours
  --runs N          how often everything is measured (default 3; with --quick 1)
  --peer NAME=DIR   also Buildbarn's own worker and runner: buildbarn=DIR, with bb_worker and bb_runner in DIR
  --sides A,B       only these: nfs, hard-links, local; with --peer also buildbarn-fuse, buildbarn-nfs,
                    buildbarn-hard-links
  --out DIR         where results.json and report.html go (default: bench-results)
  --compare FILE    show the change since an earlier results.json
  --help            this text

Benchmarks of single parts, which need no worker: npm run bench -- --list`;

interface Options {
  readonly scenarios: readonly string[];
  readonly quick: boolean;
  readonly runs: number;
  readonly sides: readonly string[] | undefined;
  readonly peers: readonly string[];
  readonly out: string;
  readonly compare: string | undefined;
}

class UsageError extends Error {}

async function main(): Promise<number> {
  const options = readOptions();
  if (options === undefined) {
    console.log(HELP);
    return 0;
  }
  const earlier = options.compare === undefined ? undefined : readResults(options.compare);
  const data = mkdtempSync(join(tmpdir(), "bench-"));
  try {
    await prepare(data, options);
    const status = await runInKernel(join(import.meta.dirname, "inside.ts"), [data], {
      data,
      timeoutSeconds: options.quick ? 1200 : 8 * 3600,
    });
    if (status !== 0) {
      return status;
    }
    const results = readResults(join(data, "results.json"));
    console.log(terminalReport(results, earlier));
    mkdirSync(options.out, { recursive: true });
    writeFileSync(join(options.out, "results.json"), JSON.stringify(results, null, 1));
    writeFileSync(join(options.out, "report.html"), htmlReport(results));
    console.log(`\n${join(options.out, "results.json")} and report.html have been written.`);
    return results.failures.length === 0 ? 0 : 1;
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
}

/** undefined: help is wanted. */
function readOptions(): Options | undefined {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: "boolean", default: false },
      runs: { type: "string" },
      peer: { type: "string", multiple: true, default: [] },
      sides: { type: "string" },
      out: { type: "string", default: "bench-results" },
      compare: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    return undefined;
  }
  const runs = Number(values.runs ?? (values.quick ? 1 : 3));
  if (!Number.isInteger(runs) || runs < 1) {
    throw new UsageError(`--runs ${values.runs}: must be a whole number from 1 on`);
  }
  const unknown = positionals.find((name) => !SCENARIOS.some((scenario) => scenario.name === name));
  if (unknown !== undefined) {
    throw new UsageError(`there is no scenario ${JSON.stringify(unknown)}`);
  }
  for (const peer of values.peer) {
    try {
      peerSides(peer);
    } catch (error) {
      throw new UsageError((error as Error).message);
    }
  }
  return {
    scenarios: positionals.length > 0 ? positionals : SCENARIOS.map(({ name }) => name),
    quick: values.quick,
    runs,
    sides: values.sides?.split(","),
    peers: values.peer,
    out: resolve(values.out),
    compare: values.compare,
  };
}

/** Fills the storage, and writes down what the kernel's side is to do. */
async function prepare(data: string, options: Options): Promise<void> {
  const storage = await EmbeddedStorage.open({ folder: join(data, "storage") });
  try {
    const preparation = new Preparation(storage, options.quick, (text) => console.log(`preparing ${text} …`));
    const plans: Record<string, unknown> = {};
    for (const scenario of SCENARIOS.filter(({ name }) => options.scenarios.includes(name))) {
      plans[scenario.name] = await scenario.prepare(preparation);
    }
    const plan: SuitePlan = {
      programs: process.env.BB_PROGRAMS ?? packagedPrograms(data),
      quick: options.quick,
      runs: options.runs,
      sides: options.sides,
      peers: options.peers,
      smallest: await importVisitedRoot(storage, 0),
      scenarios: plans,
    };
    writeFileSync(join(data, "plan.json"), JSON.stringify(plan));
  } finally {
    await storage.close();
  }
}

/** Packages this checkout's programs, as nobody deploys the sources. Returns where they are. */
function packagedPrograms(data: string): string {
  console.log("packaging the programs …");
  const output = join(data, "package");
  const script = join(import.meta.dirname, "../../scripts/package/main.ts");
  execFileSync(process.execPath, [script, "--bundles", "--output", output], { stdio: "pipe" });
  return join(output, "bundle");
}

function readResults(file: string): Results {
  const results = JSON.parse(readFileSync(file, "utf8")) as Results;
  if (results.format !== 1) {
    throw new UsageError(`${file} is not a results.json of this suite`);
  }
  return results;
}

try {
  process.exitCode = await main();
} catch (error) {
  const isUsage =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith("ERR_PARSE_ARGS");
  console.error(`bench: ${(error as Error).message}${isUsage ? "\nSee npm run bench -- --help" : ""}`);
  process.exitCode = isUsage ? 2 : 1;
}
