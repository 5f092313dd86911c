import { formatTable } from "../../table.ts";
import type { Results, Series } from "../measurements.ts";
import { formatRatio, formatSeries, ratio, type Table, tablesOf } from "./tables.ts";

/** All tables; beside each value its ratio to the first side's, or to the value of an earlier run. */
export function terminalReport(results: Results, earlier?: Results): string {
  const old = new Map(earlier?.series.map((series) => [keyOf(series), series]));
  const parts = results.scenarios.flatMap(({ name, question }) => [
    `\n${name}: ${question}`,
    ...tablesOf(results)
      .filter(({ scenario }) => scenario === name)
      .map((table) => formatOne(table, earlier && old)),
  ]);
  const runs = [...new Set(results.series.map(({ values }) => values.length))].sort((a, b) => a - b);
  const compared = earlier
    ? `Ratios are to the earlier run of ${earlier.started}.`
    : "Ratios are to the first column.";
  return [
    ...parts,
    `\nMedians of ${runs.join(" to ")} run(s), smallest and largest in brackets. ${compared}`,
    `${results.kernel}, ${results.processors} processor(s), ${results.started}.`,
    ...results.failures.map((failure) => `FAILED: ${failure}`),
  ].join("\n");
}

function formatOne(table: Table, old: ReadonlyMap<string, Series> | undefined): string {
  const { name, unit } = table.metric;
  const header = [unit ? `${name}, ${unit}` : name, ...table.sides.flatMap(({ title }) => [title, ""])];
  const rows = table.rows.map(({ case: title, cells }) => [
    title,
    ...cells.flatMap((cell, column) => {
      const base = old ? cell && old.get(keyOf(cell)) : column > 0 ? cells[0] : undefined;
      const relation = ratio(cell, base);
      return [cell ? formatSeries(cell) : "–", relation === undefined ? "" : formatRatio(relation)];
    }),
  ]);
  return `\n${formatTable(header, rows)}`;
}

function keyOf(series: Series): string {
  return JSON.stringify([series.scenario, series.case, series.metric.name, series.side]);
}
