import { DURATION_BOUNDS, type NfsServerStatistics } from "../../nfs/index.ts";
import { bytes, count, duration } from "../../telemetry/page/format.ts";
import { type Html, html } from "../../telemetry/page/html.ts";
import { facts, table } from "../../telemetry/page/parts.ts";

/** Of the operations, those that took the most time. */
const SHOWN = 15;

interface Row {
  readonly operation: string;
  calls: number;
  failed: number;
  seconds: number;
  readonly buckets: number[];
}

/** What the kernel's clients asked for, and how long that took. */
export function nfsContent(all: readonly NfsServerStatistics[]): Html {
  const rows = new Map<string, Row>();
  const rowOf = (operation: string): Row => {
    const row = rows.get(operation) ?? {
      operation,
      calls: 0,
      failed: 0,
      seconds: 0,
      buckets: Array(DURATION_BOUNDS.length + 1).fill(0),
    };
    rows.set(operation, row);
    return row;
  };
  let read = 0;
  let written = 0;
  for (const { operationCounts, operationDurations, bytesRead, bytesWritten } of all) {
    read += bytesRead;
    written += bytesWritten;
    for (const { operation, status, count } of operationCounts) {
      const row = rowOf(operation);
      row.calls += count;
      row.failed += status === "OK" ? 0 : count;
    }
    for (const { operation, buckets, seconds } of operationDurations) {
      const row = rowOf(operation);
      row.seconds += seconds;
      buckets.forEach((count, index) => {
        row.buckets[index]! += count;
      });
    }
  }
  const shown = [...rows.values()]
    .toSorted((a, b) => b.seconds - a.seconds || b.calls - a.calls)
    .slice(0, SHOWN);
  const quantile = (heading: string, part: number) => ({
    heading,
    isNumber: true,
    cell: ({ buckets }: Row) => quantileOf(buckets, part),
  });
  return html`${facts([
    ["READ answered with", bytes(read)],
    ["WRITE took", bytes(written)],
  ])}${table(
    "NFS operations, those that took the most time first",
    [
      { heading: "Operation", cell: ({ operation }) => operation },
      { heading: "Calls", isNumber: true, cell: ({ calls }) => count(calls) },
      { heading: "Not OK", isNumber: true, cell: ({ failed }) => count(failed) },
      { heading: "Time together", isNumber: true, cell: ({ seconds }) => duration(seconds * 1000) },
      quantile("50% within", 0.5),
      quantile("99% within", 0.99),
    ],
    shown,
    "None yet.",
  )}`;
}

/** The upper bound of the bucket that has it. */
function quantileOf(buckets: readonly number[], part: number): string {
  const total = buckets.reduce((sum, count) => sum + count, 0);
  if (total === 0) {
    return "–";
  }
  let seen = 0;
  const bucket = buckets.findIndex((count) => {
    seen += count;
    return seen >= total * part;
  });
  const bound = DURATION_BOUNDS[bucket];
  return bound === undefined
    ? `more than ${duration(DURATION_BOUNDS.at(-1)! * 1000)}`
    : duration(bound * 1000);
}
