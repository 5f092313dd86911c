/**
 * `npm test [-- PATTERN…]`: the test files under test/ whose path contains one of the patterns (all without
 * a pattern), in stages: what runs on this host first, then what needs a kernel with an NFS client (one boot
 * for all of it), then end to end. Ends with "N passed, N failed, N skipped".
 */
import { spawn, spawnSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Counts } from "./count-reporter.ts";

const repository = path.resolve(import.meta.dirname, "..");
/** Compiling all modules anew takes each process in user-mode Linux a second. */
const compileCache = path.join(repository, "node_modules/.cache/compile");

let packagesAreMade = false;

interface Stage {
  readonly title: string;
  readonly files: string;
  /** What the test runner is started by. */
  readonly launcher: (scratch: string) => string[];
  /** How many test files run at the same time. */
  readonly concurrency: number;
}

const stages: readonly Stage[] = [
  { title: "unit and protocol tests", files: "test/unit/**/*.test.ts", launcher: () => [], concurrency: 2 },
  {
    title: "the kernel harness itself",
    files: "test/harness/**/*.test.ts",
    launcher: () => [],
    concurrency: 1,
  },
  {
    title: "through the kernel's NFS client",
    files: "test/kernel/**/*.test.ts",
    launcher: (scratch) => [
      process.execPath,
      "src/in-kernel/main.ts",
      "--timeout=1800",
      `--out=${scratch}`,
      "--",
    ],
    concurrency: 1,
  },
  { title: "end to end", files: "test/e2e/**/*.test.ts", launcher: () => [], concurrency: 1 },
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
    const counts = await runStage(stage, files);
    if (counts === undefined) {
      console.log(`── ${stage.title}: the test runner ended without a result`);
      broken = true;
      continue;
    }
    total.passed += counts.passed;
    total.failed += counts.failed;
    total.skipped += counts.skipped;
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

/** undefined when the runner died before it could count. */
async function runStage(stage: Stage, files: readonly string[]): Promise<Counts | undefined> {
  const scratch = mkdtempSync(path.join(tmpdir(), "test-stage-"));
  const countFile = path.join(scratch, "counts.json");
  const [command, ...args] = [
    ...stage.launcher(scratch),
    process.execPath,
    "--test",
    `--test-concurrency=${stage.concurrency}`,
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
        stdio: ["ignore", "inherit", "inherit"],
        env: { ...process.env, NODE_COMPILE_CACHE: compileCache },
      });
      child.on("error", reject);
      child.on("exit", resolve);
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
