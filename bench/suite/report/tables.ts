import { median } from "../../median.ts";
import type { Metric, Results, Series } from "../measurements.ts";

/** One metric of one scenario: a row for each case, a column for each side. */
export interface Table {
  readonly scenario: string;
  readonly metric: Metric;
  readonly sides: readonly { readonly name: string; readonly title: string }[];
  readonly rows: readonly { readonly case: string; readonly cells: readonly (Series | undefined)[] }[];
}

/** All that was measured. Sides without any value of a table have no column in it. */
export function tablesOf(results: Results): Table[] {
  const tables: Table[] = [];
  for (const { name: scenario } of results.scenarios) {
    const series = results.series.filter((candidate) => candidate.scenario === scenario);
    const metrics = new Map(series.map(({ metric }) => [metric.name, metric]));
    for (const metric of metrics.values()) {
      const ofMetric = series.filter((candidate) => candidate.metric.name === metric.name);
      const sides = results.sides.filter(({ name }) => ofMetric.some(({ side }) => side === name));
      const cases = [...new Set(ofMetric.map((candidate) => candidate.case))];
      const rows = cases.map((title) => ({
        case: title,
        cells: sides.map(({ name }) => ofMetric.find((one) => one.case === title && one.side === name)),
      }));
      tables.push({ scenario, metric, sides, rows });
    }
  }
  return tables;
}

/** The median, with the smallest and largest value where there are several. */
export function formatSeries({ metric, values }: Series): string {
  const text = (value: number) => value.toFixed(metric.digits);
  const range = `${text(Math.min(...values))}–${text(Math.max(...values))}`;
  return values.length === 1 ? text(median(values)) : `${text(median(values))} (${range})`;
}

/** One median as a multiple of another. undefined where that says nothing. */
export function ratio(of: Series | undefined, to: Series | undefined): number | undefined {
  if (of === undefined || to === undefined) {
    return undefined;
  }
  const base = median(to.values);
  return base > 0 ? median(of.values) / base : undefined;
}

/** "2.5×", with two significant digits. */
export function formatRatio(value: number): string {
  return `${value >= 100 ? value.toFixed(0) : value.toPrecision(2)}×`;
}
