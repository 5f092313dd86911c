import { type Metric, type Results, type Series, summarize } from "../measurements.ts";

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
  const { median, minimum, maximum, count } = summarize(values);
  const text = (value: number) => value.toFixed(metric.digits);
  return count === 1 ? text(median) : `${text(median)} (${text(minimum)}–${text(maximum)})`;
}

/** One median as a multiple of another. undefined where that says nothing. */
export function ratio(of: Series | undefined, to: Series | undefined): number | undefined {
  if (of === undefined || to === undefined) {
    return undefined;
  }
  const base = summarize(to.values).median;
  return base > 0 ? summarize(of.values).median / base : undefined;
}

/** "2.5×", with two significant digits. */
export function formatRatio(value: number): string {
  return `${value >= 100 ? value.toFixed(0) : value.toPrecision(2)}×`;
}
