export type MetricKind = "counter" | "gauge" | "histogram";

/** What a family of metrics is about. Says it in full: whoever reads an exposition has nothing else. */
export interface MetricDescription {
  readonly name: string;
  readonly help: string;
  /** Of the value: "seconds", "bytes", "files" and so on, in the plural. */
  readonly unit: string;
  readonly labels?: readonly string[];
}

/** What a histogram has counted. */
export interface HistogramValue {
  /** Upper bounds, rising. */
  readonly bounds: readonly number[];
  /** How many values were in each bucket and not in the one before; one more, for those above all bounds. */
  readonly counts: ArrayLike<number>;
  readonly sum: number;
}

/** A value, and those of the family's labels. */
export interface Sample<Value> {
  readonly labels: readonly string[];
  readonly value: Value;
}

/** A family, and how to read it. */
export type MetricFamily = Required<MetricDescription> &
  (
    | { readonly kind: "counter" | "gauge"; readonly read: () => Iterable<Sample<number>> }
    | { readonly kind: "histogram"; readonly read: () => Iterable<Sample<HistogramValue>> }
  );

/**
 * All metrics of a program. Nothing is computed and nobody is told until somebody reads the families: whatever is counted
 * on a hot path is counted in its owner's own numbers, and read by {@link observe}.
 *
 * A label must have few values for as long as the program runs: no digest, no path, no name that an action chooses.
 */
export class Metrics {
  readonly #families = new Map<string, MetricFamily>();

  get families(): readonly MetricFamily[] {
    return [...this.#families.values()];
  }

  /** A family that is counted here. */
  counter(description: MetricDescription): Counter {
    const counter = new Counter();
    this.#add(description, { kind: "counter", read: () => counter.samples() });
    return counter;
  }

  /** The same for a distribution. */
  histogram(description: MetricDescription, bounds: readonly number[]): Histogram {
    const histogram = new Histogram(bounds);
    this.#add(description, { kind: "histogram", read: () => histogram.samples() });
    return histogram;
  }

  /** A family whose numbers are somebody else's. */
  observe(
    kind: "counter" | "gauge",
    description: MetricDescription,
    read: () => number | Iterable<Sample<number>>,
  ): void {
    this.#add(description, {
      kind,
      read: () => {
        const value = read();
        return typeof value === "number" ? [{ labels: [], value }] : value;
      },
    });
  }

  observeHistogram(description: MetricDescription, read: () => Iterable<Sample<HistogramValue>>): void {
    this.#add(description, { kind: "histogram", read });
  }

  #add({ name, help, unit, labels = [] }: MetricDescription, how: Pick<MetricFamily, "kind" | "read">): void {
    if (this.#families.has(name)) {
      throw new Error(`there is a metric ${name} already`);
    }
    this.#families.set(name, { name, help, unit, labels, ...how } as MetricFamily);
  }
}

/** One number for each combination of the labels' values that occurred. */
export class Counter {
  readonly #values = new Labelled(() => ({ value: 0 }));

  add(value: number, ...labels: readonly string[]): void {
    this.#values.get(labels).value += value;
  }

  *samples(): Iterable<Sample<number>> {
    for (const { labels, value } of this.#values) {
      yield { labels, value: value.value };
    }
  }
}

/** One distribution for each of them. */
export class Histogram {
  readonly #values: Labelled<Distribution>;

  constructor(bounds: readonly number[]) {
    this.#values = new Labelled(() => new Distribution(bounds));
  }

  observe(value: number, ...labels: readonly string[]): void {
    this.#values.get(labels).observe(value);
  }

  samples(): Iterable<Sample<HistogramValue>> {
    return this.#values;
  }
}

/** Counts values by buckets. */
export class Distribution implements HistogramValue {
  readonly bounds: readonly number[];
  readonly counts: Float64Array;
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const { bounds } = this;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) {
      bucket++;
    }
    this.counts[bucket]!++;
    this.sum += value;
  }
}

class Labelled<Value> {
  readonly #make: () => Value;
  readonly #samples = new Map<string, Sample<Value>>();

  constructor(make: () => Value) {
    this.#make = make;
  }

  get(labels: readonly string[]): Value {
    const key = JSON.stringify(labels);
    let sample = this.#samples.get(key);
    if (sample === undefined) {
      sample = { labels, value: this.#make() };
      this.#samples.set(key, sample);
    }
    return sample.value;
  }

  [Symbol.iterator](): Iterator<Sample<Value>> {
    return this.#samples.values();
  }
}
