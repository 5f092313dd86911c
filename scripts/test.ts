/**
 * `npm test [-- PATTERN…]`: the test files under test/ whose path contains one of the patterns (all without
 * a pattern), in stages: what runs on this host first, then what needs a kernel with an NFS client, then end to
 * end. Where that kernel has to be booted, each file has a boot of its own, which has one processor, so that two of
 * them run at the same time. Ends with "N passed, N failed, N skipped".
 */
import { spawn, spawnSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { eachAtMost } from "../src/async/each-at-most.ts";
import { kernelCanMountNfs } from "../src/in-kernel/host-kernel.ts";
import type { Counts } from "./count-reporter.ts";

const repository = path.resolve(import.meta.dirname, "..");
/** Compiling all modules anew takes each process in user-mode Linux a second. */
const compileCache = path.join(repository, "node_modules/.cache/compile");

let packagesAreMade = false;

interface Stage {
  readonly title: string;
  readonly files: string;
  /** What the test runner is started by. */
  readonly launcher?: (scratch: string) => string[];
  /** How many test files run at the same time. */
  readonly concurrency: number;
  /** Whether each file has a test runner of its own. Its output is then printed when it has ended. */
  readonly apart?: boolean;
}

const bootsKernel = !kernelCanMountNfs();

const stages: readonly Stage[] = [
  { title: "unit and protocol tests", files: "test/unit/**/*.test.ts", concurrency: 2 },
  { title: "the kernel harness itself", files: "test/harness/**/*.test.ts", concurrency: 1 },
  {
    title: "through the kernel's NFS client",
    files: "test/kernel/**/*.test.ts",
    launcher: (scratch) => [
      process.execPath,
      "src/in-kernel/main.ts",
      "--quiet",
      "--timeout=900",
      `--out=${scratch}`,
      "--",
    ],
    concurrency: bootsKernel ? 2 : 1,
    apart: bootsKernel,
  },
  { title: "end to end", files: "test/e2e/**/*.test.ts", concurrency: 1 },
];

async function main(): Promise<number> {
  const patterns = process.argv.slice(2);
  if (patterns.includes("--help")) {
    console.log(
      "Usage: npm test [-- PATTERN…]\n\nRuns the test files under test/ whose path contains a PATTERN.",
    );
    return 0;
  }
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  let broken = false;
  for (const stage of stages) {
    const files = globSync(stage.files, { cwd: repository })
      .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)))
      .sort();
    if (files.length === 0) {
      continue;
    }
    if (files.some((file) => file.endsWith("packaged.test.ts")) && !makePackages()) {
      return 1;
    }
    console.log(`\n── ${stage.title}: ${files.length} files`);
    const started = performance.now();
    const complete = await (stage.apart ? runApart(stage, files, total) : runTogether(stage, files, total));
    broken ||= !complete;
    console.log(`── ${stage.title}: ${((performance.now() - started) / 1000).toFixed(0)} s`);
  }
  if (!broken && total.passed + total.failed + total.skipped === 0) {
    console.error(`no test file's path contains ${patterns.map((p) => JSON.stringify(p)).join(" or ")}`);
    return 2;
  }
  console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return broken || total.failed > 0 ? 1 : 0;
}

/** What the tests of packages run; once. Returns false if they cannot be made. */
function makePackages(): boolean {
  packagesAreMade ||=
    spawnSync(process.execPath, ["scripts/package/main.ts", "--output", "node_modules/.cache/package"], {
      cwd: repository,
      stdio: "inherit",
    }).status === 0;
  return packagesAreMade;
}

function add(counts: Counts, total: Counts): void {
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
}

/** Adds to `total`. Resolves to false when the test runner ended without a result. */
async function runTogether(stage: Stage, files: readonly string[], total: Counts): Promise<boolean> {
  const counts = await runFiles(stage, files, "inherit");
  if (counts === undefined) {
    console.log(`── ${stage.title}: the test runner ended without a result`);
    return false;
  }
  add(counts, total);
  return true;
}

/** Each file by a test runner of its own. Adds to `total`. Resolves to false when one of them ended without a result. */
async function runApart(stage: Stage, files: readonly string[], total: Counts): Promise<boolean> {
  let complete = true;
  await eachAtMost(stage.concurrency, files, async (file) => {
    const started = performance.now();
    const output: Uint8Array[] = [];
    const counts = await runFiles(stage, [file], files.length === 1 ? "inherit" : output);
    process.stdout.write(Buffer.concat(output));
    const took = `${((performance.now() - started) / 1000).toFixed(0)} s`;
    console.log(`── ${file}: ${counts ? took : `the test runner ended without a result after ${took}`}\n`);
    if (counts === undefined) {
      complete = false;
    } else {
      add(counts, total);
    }
  });
  return complete;
}

/**
 * Runs a test runner. What it prints goes to this program's output, or to the end of a list.
 *
 * undefined when it died before it could count.
 */
async function runFiles(
  stage: Stage,
  files: readonly string[],
  output: "inherit" | Uint8Array[],
): Promise<Counts | undefined> {
  const scratch = mkdtempSync(path.join(tmpdir(), "test-stage-"));
  const countFile = path.join(scratch, "counts.json");
  const [command, ...args] = [
    ...(stage.launcher?.(scratch) ?? []),
    process.execPath,
    "--test",
    `--test-concurrency=${stage.apart ? 1 : stage.concurrency}`,
    "--test-timeout=300000",
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    "--test-reporter=./scripts/count-reporter.ts",
    `--test-reporter-destination=${countFile}`,
    ...files,
  ];
  try {
    const exitCode = await new Promise<number | null>((resolve, reject) => {
      const child = spawn(command!, args, {
        cwd: repository,
        stdio: output === "inherit" ? ["ignore", "inherit", "inherit"] : ["ignore", "pipe", "pipe"],
        env: { ...process.env, NODE_COMPILE_CACHE: compileCache },
      });
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on("data", (data: Uint8Array) => output !== "inherit" && output.push(data));
      }
      child.on("error", reject);
      child.on("close", resolve);
    });
    const counts = JSON.parse(readFileSync(countFile, "utf8")) as Counts;
    return exitCode === 0 || counts.failed > 0 ? counts : undefined;
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return undefined;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

process.exitCode = await main();
