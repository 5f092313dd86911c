/*
 * To be imported only where metrics are asked for: OpenTelemetry's SDK takes a while to load.
 */
import { type Attributes, type Meter, ValueType } from "@opentelemetry/api";
import { PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { emptyResource } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  DataPointType,
  type HistogramMetricData,
  MeterProvider,
  type MetricProducer,
  MetricReader,
} from "@opentelemetry/sdk-metrics";
import type { HistogramValue, MetricFamily, Metrics, Sample } from "./metrics.ts";

const SCOPE = { name: "bb-worker-nfs4" };
/** The SDK's own limit of 2000 series would hide the rarer combinations of an operation with its status. */
const MAXIMUM_SERIES = 20_000;

/** What can read all metrics as text. */
export interface Exposition {
  /** In Prometheus' text format, version 0.0.4. */
  text(): Promise<string>;
}

/**
 * Exposes metrics by OpenTelemetry: numbers as observable instruments. Its API has no observable histogram, so histograms
 * are handed to its reader by a metric producer, the SDK's interface for what others have counted.
 */
export function expose(metrics: Metrics): Exposition {
  const startedAt = Date.now();
  const histograms = (): HistogramMetricData[] =>
    metrics.families.flatMap((family) =>
      family.kind === "histogram" ? [histogramData(family, startedAt)] : [],
    );
  const reader = new PullReader({
    async collect() {
      return {
        resourceMetrics: {
          resource: emptyResource(),
          scopeMetrics: [{ scope: SCOPE, metrics: histograms() }],
        },
        errors: [],
      };
    },
  });
  const meter = new MeterProvider({ readers: [reader] }).getMeter(SCOPE.name);
  for (const family of metrics.families) {
    if (family.kind !== "histogram") {
      instrument(meter, family);
    }
  }
  // Names, among them _total at the end of counters', are what the serializer would make of others; units stay out of them.
  const serializer = new PrometheusSerializer("", false, undefined, true, true);
  return {
    async text() {
      const { resourceMetrics, errors } = await reader.collect();
      if (errors.length > 0) {
        throw new AggregateError(errors, `some metrics cannot be read: ${errors.map(String).join(", ")}`);
      }
      return serializer.serialize(resourceMetrics);
    },
  };
}

function instrument(meter: Meter, { kind, name, help, unit, labels, read }: NumberFamily): void {
  const options = { description: help, unit, valueType: ValueType.DOUBLE };
  const observable =
    kind === "counter"
      ? meter.createObservableCounter(name, options)
      : meter.createObservableGauge(name, options);
  observable.addCallback((result) => {
    for (const sample of read()) {
      result.observe(sample.value, attributes(labels, sample));
    }
  });
}

type NumberFamily = MetricFamily & { readonly kind: "counter" | "gauge" };

function histogramData(
  { name, help, unit, labels, read }: MetricFamily & { readonly kind: "histogram" },
  startedAt: number,
): HistogramMetricData {
  return {
    descriptor: { name, description: help, unit, valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    dataPointType: DataPointType.HISTOGRAM,
    dataPoints: Array.from(read(), (sample: Sample<HistogramValue>) => {
      const { bounds, counts, sum } = sample.value;
      const all = Array.from(counts);
      return {
        startTime: hrTime(startedAt),
        endTime: hrTime(Date.now()),
        attributes: attributes(labels, sample),
        value: {
          buckets: { boundaries: [...bounds], counts: all },
          sum,
          count: all.reduce((total, count) => total + count, 0),
        },
      };
    }),
  };
}

function attributes(labels: readonly string[], { labels: values }: Sample<unknown>): Attributes {
  return Object.fromEntries(labels.map((label, index) => [label, values[index]!]));
}

function hrTime(milliseconds: number): [number, number] {
  return [Math.floor(milliseconds / 1000), (milliseconds % 1000) * 1e6];
}

/** Collects when it is asked to. */
class PullReader extends MetricReader {
  constructor(histograms: MetricProducer) {
    super({ metricProducers: [histograms], cardinalitySelector: () => MAXIMUM_SERIES });
  }

  protected override async onShutdown(): Promise<void> {}

  protected override async onForceFlush(): Promise<void> {}
}
