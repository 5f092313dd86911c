import type { Result } from "./suite.ts";

/**
 * The results in the output of a program that speaks TAP, the Test Anything Protocol. A test is named by `prefix` and
 * its number; "plan" has failed if fewer tests came than were planned ("1..N").
 */
export function parseTap(output: string, prefix = ""): Result[] {
  const results = new Map<number, Result>();
  for (const [, not, number, rest] of output.matchAll(/^(not )?ok (\d+)(.*)$/gm)) {
    const test = `${prefix}${number}`;
    const [, directive] = /#\s*(skip|todo)\b/i.exec(rest!) ?? [];
    const note = rest!.replace(/^ *-? */, "").trim();
    if (directive !== undefined) {
      results.set(Number(number), { test, outcome: "skipped", note });
    } else if (not === undefined) {
      results.set(Number(number), { test, outcome: "passed" });
    } else {
      results.set(Number(number), { test, outcome: "failed", note });
    }
  }
  const planned = Number(/^1\.\.(\d+)/m.exec(output)?.[1] ?? 0);
  if (results.size < planned) {
    const note = `${planned} tests were planned, and ${results.size} came`;
    results.set(planned + 1, { test: `${prefix}plan`, outcome: "failed", note });
  }
  return [...results.entries()].sort(([a], [b]) => a - b).map(([, result]) => result);
}
