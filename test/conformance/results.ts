/** Results as they are kept between runs: one file for each suite and target. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CaseResults, Result } from "./suite.ts";
import { type Target, targetName } from "./targets.ts";

/** What one suite gave on one target. */
export interface Kept {
  /** By case. */
  readonly cases: Record<string, readonly Result[]>;
  /** What the target found wrong when it was closed, by the first case of that run: faults, or what was left over. */
  readonly targetFailures: Record<string, string>;
}

export class KeptResults {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  read(suite: string, target: Target): Kept {
    const path = this.#path(suite, target);
    return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : { cases: {}, targetFailures: {} };
  }

  /** All results of a suite on a target; what the target itself found wrong is a test, too. */
  results(suite: string, target: Target): Result[] {
    const { cases, targetFailures } = this.read(suite, target);
    return [
      ...Object.values(cases).flat(),
      ...Object.entries(targetFailures).map(([first, note]): Result => {
        return { test: `the server, from ${first} on`, outcome: "failed", note };
      }),
    ];
  }

  add(
    suite: string,
    target: Target,
    added: readonly CaseResults[],
    run: { first: string; failure?: string },
  ): void {
    const kept = this.read(suite, target);
    for (const { name, results } of added) {
      kept.cases[name] = results;
      delete kept.targetFailures[name];
    }
    if (run.failure !== undefined) {
      kept.targetFailures[run.first] = run.failure;
    }
    mkdirSync(join(this.#folder, suite), { recursive: true });
    writeFileSync(this.#path(suite, target), `${JSON.stringify(kept)}\n`);
  }

  #path(suite: string, target: Target): string {
    return join(this.#folder, suite, `${targetName(target).replace(" ", "-")}.json`);
  }
}
