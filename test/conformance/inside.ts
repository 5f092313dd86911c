/**
 * Program, in the kernel under test: runs cases of one suite on one target, and writes what came of each as a line of
 * JSON, so that nothing is lost if the kernel stops. Its one argument is the file with the job.
 */
import { appendFileSync, chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CaseResults, Place } from "./suite.ts";
import { SUITES } from "./suites/index.ts";
import { mountTarget, type Target } from "./targets.ts";

export interface Job {
  readonly suite: string;
  /** Absolute, or "" for a program on the PATH. */
  readonly folder: string;
  readonly target: Target;
  readonly cases: readonly string[];
  /** No case begins later than this. */
  readonly seconds: number;
  /** Gets the {@link Line}s. */
  readonly resultsFile: string;
}

/** A line of the results: what came of one; or what the target found wrong at the end. */
export type Line = CaseResults | { targetFailed: string };

async function main(jobFile: string): Promise<void> {
  const started = performance.now();
  const job = JSON.parse(readFileSync(jobFile, "utf8")) as Job;
  const write = (line: Line) => appendFileSync(job.resultsFile, `${JSON.stringify(line)}\n`);
  const definition = SUITES.find(({ name }) => name === job.suite)!;
  const suite = definition.open(job.folder);
  const scratch = mkdtempSync(join(tmpdir(), "conformance-scratch-"));
  chmodSync(scratch, 0o755);
  try {
    await using mounted = await mountTarget(job.target, { serveOnly: definition.protocolOnly ?? false });
    const place: Place = {
      version: job.target.version || job.target.fileSystem,
      inputs: job.target.fileSystem === "inputs",
      scratch,
      directory: (files) => mounted.directory(files),
      remoteDirectory: (name) => mounted.remoteDirectory(name),
      deadline: started + job.seconds * 1000,
    };
    for await (const results of suite.run(job.cases, place)) {
      write(results);
    }
  } catch (error) {
    write({ targetFailed: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
  rmSync(scratch, { recursive: true, force: true });
}

// So that what it has started ends, too.
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => process.exit(1));
}
await main(process.argv[2]!);
