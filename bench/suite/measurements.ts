/** What one kind of measurement is. Less is better for all of them. */
export interface Metric {
  readonly name: string;
  readonly unit: string;
  /** Digits behind the point in tables. */
  readonly digits: number;
}

export const WALL: Metric = { name: "wall", unit: "s", digits: 2 };
export const RUN: Metric = { name: "run", unit: "s", digits: 2 };
export const ORDER_TO_RUN: Metric = { name: "order to run", unit: "ms", digits: 1 };
export const WORKER_CPU: Metric = { name: "worker's CPU", unit: "s", digits: 2 };
export const CALLS: Metric = { name: "NFS calls", unit: "", digits: 0 };
export const FETCHED: Metric = { name: "fetched", unit: "MB", digits: 1 };
export const MEMORY: Metric = { name: "worker's RSS", unit: "MiB", digits: 0 };

/** All values of one metric for one side in one case of a scenario. */
export interface Series {
  readonly scenario: string;
  readonly case: string;
  readonly metric: Metric;
  readonly side: string;
  readonly values: number[];
}

/** What a run of the suite has found; also the content of its JSON file. */
export interface Results {
  readonly format: 1;
  /** ISO 8601. */
  readonly started: string;
  readonly kernel: string;
  readonly processors: number;
  readonly quick: boolean;
  /** In the order of their columns. Ratios are to the first. */
  readonly sides: readonly { readonly name: string; readonly title: string }[];
  readonly scenarios: readonly { readonly name: string; readonly question: string }[];
  readonly series: readonly Series[];
  /** What could not be measured, and why. */
  readonly failures: readonly string[];
}

/** Collects values into series. */
export class Recorder {
  readonly #series = new Map<string, Series>();

  add(scenario: string, caseName: string, metric: Metric, side: string, value: number): void {
    const key = JSON.stringify([scenario, caseName, metric.name, side]);
    const series = this.#series.get(key);
    if (series) {
      series.values.push(value);
    } else {
      this.#series.set(key, { scenario, case: caseName, metric, side, values: [value] });
    }
  }

  get series(): Series[] {
    return [...this.#series.values()];
  }
}
