/** The table of all results, and what failed here but not there. */
import { KNOWN_FAILURES } from "./known-failures.ts";
import type { KeptResults } from "./results.ts";
import type { Result } from "./suite.ts";
import type { FileSystemName } from "./targets.ts";

/** What is compared with the others. */
export const OURS = ["memory", "tree", "inputs"] as const satisfies readonly FileSystemName[];
const VERSIONS = ["4.0", "4.1", "4.2"] as const;

/** A test that fails on a file system of ours, and passes on one of the kernel's. */
export interface Difference {
  readonly suite: string;
  readonly test: string;
  /** For example "memory 4.1". */
  readonly failsOn: string[];
  readonly note: string;
  /** undefined if nobody has said yet why it is so. */
  readonly reason: string | undefined;
}

export interface Report {
  /** Header and rows; cells of markdown. */
  readonly rows: readonly (readonly string[])[];
  readonly differences: readonly Difference[];
}

export function makeReport(suites: readonly string[], kept: KeptResults): Report {
  const rows = [["suite", "NFS", ...OURS, "nfsd", "tmpfs", "failed here but not there"]];
  const differences = new Map<string, Difference>();
  for (const suite of suites) {
    const tmpfs = kept.results(suite, { fileSystem: "tmpfs", version: "" });
    for (const version of VERSIONS) {
      const nfsd = kept.results(suite, { fileSystem: "nfsd", version });
      const passesThere = new Set([...tmpfs, ...nfsd].filter(passed).map(({ test }) => test));
      const comparable = tmpfs.length + nfsd.length > 0;
      const ours = OURS.map(
        (fileSystem) => [fileSystem, kept.results(suite, { fileSystem, version })] as const,
      );
      if (ours.every(([, results]) => results.length === 0)) {
        continue;
      }
      const here = new Set<string>();
      for (const [fileSystem, results] of ours) {
        for (const { test, note = "" } of results.filter(failed)) {
          // Where there is nothing to compare with, and for what the server itself finds, any failure counts.
          if (passesThere.has(test) || !comparable || test.startsWith("the server, ")) {
            here.add(test);
            const key = `${suite} ${test}`;
            const reason = KNOWN_FAILURES.find(
              (known) => known.suite === suite && known.test.test(test),
            )?.reason;
            const difference = differences.get(key) ?? { suite, test, failsOn: [], note, reason };
            difference.failsOn.push(`${fileSystem} ${version}`);
            differences.set(key, difference);
          }
        }
      }
      const cells = [...ours.map(([, results]) => results), nfsd, tmpfs].map(cell);
      rows.push([suite, version, ...cells, here.size === 0 ? "none" : String(here.size)]);
    }
  }
  return { rows, differences: [...differences.values()] };
}

function passed({ outcome }: Result): boolean {
  return outcome === "passed";
}

function failed({ outcome }: Result): boolean {
  return outcome === "failed";
}

/** "passed / failed / skipped". */
function cell(results: readonly Result[]): string {
  if (results.length === 0) {
    return "–";
  }
  const skipped = results.filter(({ outcome }) => outcome === "skipped").length;
  return [results.filter(passed).length, results.filter(failed).length, skipped].join(" / ");
}

/** The report as markdown. */
export function toMarkdown({ rows, differences }: Report): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) =>
    `| ${row.map((text, column) => text.padEnd(widths[column]!)).join(" | ")} |`;
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  const table = [line(rows[0]!), rule, ...rows.slice(1).map(line)].join("\n");
  const explained = [
    ...Map.groupBy(differences, ({ suite, reason, note }) => `${suite}: ${reason ?? note}`),
  ].map(([key, group]) => {
    const tests = shortList(group.map(({ test }) => test));
    const where = [...new Set(group.flatMap(({ failsOn }) => failsOn))].join(", ");
    const [{ suite, reason, note }] = group as [Difference, ...Difference[]];
    return `- **${suite}** ${tests} (${where}): ${(reason ?? (note || key)).replaceAll(/[|<>*_]/g, "\\$&")}`;
  });
  const list = explained.length === 0 ? "Nothing fails here that passes there." : explained.join("\n");
  return `${table}\n\n${list}\n`;
}

const LISTED = 20;

function shortList(tests: readonly string[]): string {
  const more = tests.length > LISTED ? ` and ${tests.length - LISTED} more` : "";
  return tests.slice(0, LISTED).join(", ") + more;
}

const BEGIN = "<!-- npm run conformance -- --write: begin -->";
const END = "<!-- npm run conformance -- --write: end -->";

/** The document with the report between its two markers. Throws if it lacks them. */
export function replaceReport(document: string, markdown: string): string {
  const begin = document.indexOf(BEGIN);
  const end = document.indexOf(END);
  if (begin < 0 || end < begin) {
    throw new Error(`the document needs the lines ${BEGIN} and ${END}`);
  }
  return `${document.slice(0, begin + BEGIN.length)}\n\n${markdown}\n${document.slice(end)}`;
}
