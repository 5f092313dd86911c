import type { AttributeValue } from "./spans.ts";

/** What Buildbarn's TracingConfiguration says, as plain data. */
export interface TracingSettings<Endpoint> {
  readonly backends: readonly TracingBackend<Endpoint>[];
  /** What the process says of itself. */
  readonly resourceAttributes: Readonly<Record<string, AttributeValue>>;
  readonly sampler: SamplerSettings;
}

export interface TracingBackend<Endpoint> {
  /** Takes spans by OTLP over gRPC. */
  readonly endpoint: Endpoint;
  /** How spans are sent together; undefined if each is sent by itself. Absent numbers are OpenTelemetry's defaults. */
  readonly batches: SpanBatches | undefined;
}

export interface SpanBatches {
  /** Milliseconds that a span waits for others, at most. */
  readonly delayMilliseconds: number | undefined;
  /** Milliseconds that sending may take. */
  readonly exportMilliseconds: number | undefined;
  /** Spans. */
  readonly maximumBatchSize: number | undefined;
  /** Spans that wait to be sent; beyond it, they are dropped. */
  readonly maximumQueueSize: number | undefined;
}

/** Which spans are recorded. */
export type SamplerSettings =
  | { readonly policy: "always" | "never" }
  | { readonly policy: "traceIdRatioBased"; readonly ratio: number }
  | { readonly policy: "maximumRate"; readonly samplesPerEpoch: number; readonly epochMilliseconds: number }
  | ({ readonly policy: "parentBased" } & ParentBasedSettings);

export interface ParentBasedSettings {
  readonly noParent: SamplerSettings;
  readonly localParentNotSampled: SamplerSettings;
  readonly localParentSampled: SamplerSettings;
  readonly remoteParentNotSampled: SamplerSettings;
  readonly remoteParentSampled: SamplerSettings;
}
