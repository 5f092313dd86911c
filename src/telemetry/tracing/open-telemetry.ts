/*
 * To be imported only where tracing is configured: OpenTelemetry's SDK takes a while to load.
 */
import {
  type Context,
  defaultTextMapGetter,
  defaultTextMapSetter,
  type Attributes as OtelAttributes,
  type Span as OtelSpan,
  type Tracer as OtelTracer,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { ExportResultCode, W3CTraceContextPropagator } from "@opentelemetry/core";
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  BatchSpanProcessor,
  SimpleSpanProcessor,
  type SpanExporter,
  type SpanProcessor,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { samplerOf } from "./samplers.ts";
import type { SpanBatches, TracingSettings } from "./settings.ts";
import type { Attributes, Span, SpanOptions, TraceContext, Tracer } from "./spans.ts";

const SCOPE = "bb-worker-nfs4";
const EXPORT_MILLISECONDS = 30_000;
/** How long the last spans may take to leave. */
const LAST_EXPORT_MILLISECONDS = 5_000;

/** A backend's connection, by which serialized ExportTraceServiceRequests are sent. */
export interface OtlpConnection {
  /** Resolves to a serialized ExportTraceServiceResponse. */
  send(request: Uint8Array, timeoutMilliseconds: number): Promise<Uint8Array>;
  close(): void;
}

export interface Tracing extends Tracer, AsyncDisposable {}

/**
 * Records spans and sends them to the backends; what is left goes when it is disposed of, if that takes no more than some
 * seconds. `onError` is called when spans are lost.
 */
export function startTracing<Endpoint>(
  settings: TracingSettings<Endpoint>,
  connect: (endpoint: Endpoint) => OtlpConnection,
  onError: (error: Error) => void,
): Tracing {
  const connections: OtlpConnection[] = [];
  const spanProcessors = settings.backends.map(({ endpoint, batches }) => {
    const connection = connect(endpoint);
    connections.push(connection);
    const timeout = batches?.exportMilliseconds ?? EXPORT_MILLISECONDS;
    return processorOf(exporter(connection, timeout, onError), batches);
  });
  const provider = new TracerProvider({
    sampler: samplerOf(settings.sampler),
    resource: resourceFromAttributes(settings.resourceAttributes as OtelAttributes),
    spanProcessors,
  });
  const tracer = provider.getTracer(SCOPE);
  const propagator = new W3CTraceContextPropagator();
  return {
    start(name, parent, options) {
      const context = parent ? propagator.extract(ROOT_CONTEXT, parent, defaultTextMapGetter) : ROOT_CONTEXT;
      return new RecordedSpan(tracer, propagator, context, name, options);
    },
    async [Symbol.asyncDispose]() {
      const timeout = Promise.withResolvers<void>();
      const timer = setTimeout(timeout.resolve, LAST_EXPORT_MILLISECONDS);
      await Promise.race([provider.shutdown().catch(onError), timeout.promise]);
      clearTimeout(timer);
      for (const connection of connections) {
        connection.close();
      }
    },
  };
}

function processorOf(exporter: SpanExporter, batches: SpanBatches | undefined): SpanProcessor {
  if (batches === undefined) {
    return new SimpleSpanProcessor({ exporter });
  }
  const { delayMilliseconds, exportMilliseconds, maximumBatchSize, maximumQueueSize } = batches;
  return new BatchSpanProcessor({
    exporter,
    ...(delayMilliseconds !== undefined && { scheduledDelayMillis: delayMilliseconds }),
    ...(exportMilliseconds !== undefined && { exportTimeoutMillis: exportMilliseconds }),
    ...(maximumBatchSize !== undefined && { maxExportBatchSize: maximumBatchSize }),
    ...(maximumQueueSize !== undefined && { maxQueueSize: maximumQueueSize }),
  });
}

function exporter(
  connection: OtlpConnection,
  timeoutMilliseconds: number,
  onError: (error: Error) => void,
): SpanExporter {
  const underWay = new Set<Promise<void>>();
  return {
    export(spans, report) {
      const request = ProtobufTraceSerializer.serializeRequest(spans) ?? new Uint8Array(0);
      const sent = connection
        .send(request, timeoutMilliseconds)
        .then(
          (response) => {
            const { partialSuccess } = ProtobufTraceSerializer.deserializeResponse(response);
            const rejected = Number(partialSuccess?.rejectedSpans ?? 0);
            if (rejected > 0) {
              onError(new Error(`${rejected} spans were rejected: ${partialSuccess?.errorMessage ?? ""}`));
            }
            report({ code: ExportResultCode.SUCCESS });
          },
          (error: Error) => {
            onError(error);
            report({ code: ExportResultCode.FAILED, error });
          },
        )
        .finally(() => underWay.delete(sent));
      underWay.add(sent);
    },
    async shutdown() {
      await Promise.all(underWay);
    },
  };
}

const KINDS = { client: SpanKind.CLIENT, server: SpanKind.SERVER };

class RecordedSpan implements Span {
  readonly #tracer: OtelTracer;
  readonly #propagator: W3CTraceContextPropagator;
  readonly #span: OtelSpan;
  readonly #context: Context;

  constructor(
    tracer: OtelTracer,
    propagator: W3CTraceContextPropagator,
    parent: Context,
    name: string,
    { attributes, kind, startedAt }: SpanOptions = {},
  ) {
    this.#tracer = tracer;
    this.#propagator = propagator;
    this.#span = tracer.startSpan(
      name,
      {
        ...(attributes && { attributes: attributes as OtelAttributes }),
        ...(kind && { kind: KINDS[kind] }),
        ...(startedAt !== undefined && { startTime: new Date(startedAt) }),
      },
      parent,
    );
    this.#context = trace.setSpan(parent, this.#span);
  }

  get context(): TraceContext {
    const headers: Record<string, string> = {};
    this.#propagator.inject(this.#context, headers, defaultTextMapSetter);
    return headers;
  }

  get isRecording(): boolean {
    return this.#span.isRecording();
  }

  child(name: string, options?: SpanOptions): Span {
    return new RecordedSpan(this.#tracer, this.#propagator, this.#context, name, options);
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes(attributes as OtelAttributes);
  }

  end(failure?: string): void {
    if (failure !== undefined) {
      this.#span.setStatus({ code: SpanStatusCode.ERROR, message: failure });
    }
    if (this.#span.isRecording()) {
      this.#span.end();
    }
  }
}
