import type { GrpcEndpoint } from "../../grpc/endpoint.ts";
import type {
  TracingConfiguration,
  TracingConfiguration_Backend,
  TracingConfiguration_Backend_BatchSpanProcessor,
  TracingConfiguration_Sampler,
  TracingConfiguration_Sampler_ParentBased,
} from "../../proto/gen/buildbarn/configuration/global/global_pb.ts";
import type { AnyValue, KeyValue } from "../../proto/gen/opentelemetry/proto/common/v1/common_pb.ts";
import type {
  SamplerSettings,
  SpanBatches,
  TracingBackend,
  TracingSettings,
} from "../../telemetry/tracing/settings.ts";
import type { AttributeValue } from "../../telemetry/tracing/spans.ts";
import { positiveMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import { all, each, type FieldPath, unsupported } from "../field-path.ts";
import { grpcEndpoint } from "../network/grpc-client.ts";
import { accept, refuse } from "../refuse.ts";
import { optional, positive } from "../values.ts";

export function tracingSettings(
  configuration: TracingConfiguration,
  path: FieldPath,
): TracingSettings<GrpcEndpoint> {
  const { backends, resourceAttributes, sampler, ...rest } = configuration;
  refuse(rest, path);
  return all({
    backends: () =>
      each(backends, (backend, index) => backendOf(backend, path.field("backends").index(index))),
    resourceAttributes: () =>
      Object.fromEntries(
        each(resourceAttributes, (attribute, index) =>
          attributeOf(attribute, path.field("resourceAttributes").index(index)),
        ),
      ),
    sampler: () => samplerOf(sampler, path.field("sampler")),
  });
}

function backendOf(
  { spanExporter, spanProcessor, ...rest }: TracingConfiguration_Backend,
  path: FieldPath,
): TracingBackend<GrpcEndpoint> {
  refuse(rest, path);
  return all({
    endpoint: () => {
      switch (spanExporter.case) {
        case "otlpSpanExporter":
          return grpcEndpoint(spanExporter.value, path.field("otlpSpanExporter"));
        case "jaegerCollectorSpanExporter":
          throw unsupported(
            path.field("jaegerCollectorSpanExporter"),
            "use otlpSpanExporter, which Jaeger takes since its version 1.35",
          );
        default:
          throw new ConfigurationError(`${path} has no exporter: give otlpSpanExporter`);
      }
    },
    batches: () => {
      switch (spanProcessor.case) {
        case "simpleSpanProcessor":
          return undefined;
        case "batchSpanProcessor":
          return batchesOf(spanProcessor.value, path.field("batchSpanProcessor"));
        default:
          throw new ConfigurationError(
            `${path} has no processor: give batchSpanProcessor, or simpleSpanProcessor to send each span by itself`,
          );
      }
    },
  });
}

function batchesOf(
  configuration: TracingConfiguration_Backend_BatchSpanProcessor,
  path: FieldPath,
): SpanBatches {
  const { batchTimeout, exportTimeout, maxExportBatchSize, maxQueueSize, ...rest } = configuration;
  refuse(accept(rest, path, { blocking: "spans that find the queue full are dropped" }), path);
  const batches = all<SpanBatches>({
    delayMilliseconds: () => batchTimeout && positiveMilliseconds(batchTimeout, path.field("batchTimeout")),
    exportMilliseconds: () =>
      exportTimeout && positiveMilliseconds(exportTimeout, path.field("exportTimeout")),
    maximumBatchSize: () => optional(maxExportBatchSize, path.field("maxExportBatchSize")),
    maximumQueueSize: () => optional(maxQueueSize, path.field("maxQueueSize")),
  });
  const { maximumBatchSize = DEFAULT_BATCH_SIZE, maximumQueueSize = DEFAULT_QUEUE_SIZE } = batches;
  if (maximumBatchSize > maximumQueueSize) {
    throw new ConfigurationError(
      `${path}.maxExportBatchSize is ${maximumBatchSize}: give at most maxQueueSize, which is ${maximumQueueSize}`,
    );
  }
  return batches;
}

/** OpenTelemetry's. */
const DEFAULT_BATCH_SIZE = 512;
const DEFAULT_QUEUE_SIZE = 2048;

function samplerOf(
  configuration: TracingConfiguration_Sampler | undefined,
  path: FieldPath,
): SamplerSettings {
  if (configuration?.policy.case === undefined) {
    throw new ConfigurationError(`${path} is missing: give one, such as {"always": {}}`);
  }
  const { policy, ...rest } = configuration;
  refuse(rest, path);
  switch (policy.case) {
    case "always":
    case "never":
      return { policy: policy.case };
    case "traceIdRatioBased":
      return { policy: "traceIdRatioBased", ratio: Math.min(Math.max(policy.value, 0), 1) };
    case "maximumRate": {
      const { samplesPerEpoch, epochDuration, ...rest } = policy.value;
      const here = path.field("maximumRate");
      refuse(rest, here);
      return {
        policy: "maximumRate",
        samplesPerEpoch: positive(samplesPerEpoch, here.field("samplesPerEpoch")),
        epochMilliseconds: positiveMilliseconds(epochDuration, here.field("epochDuration")),
      };
    }
    case "parentBased":
      return parentBased(policy.value, path.field("parentBased"));
  }
}

function parentBased(
  configuration: TracingConfiguration_Sampler_ParentBased,
  path: FieldPath,
): SamplerSettings {
  const {
    noParent,
    localParentNotSampled,
    localParentSampled,
    remoteParentNotSampled,
    remoteParentSampled,
    ...rest
  } = configuration;
  refuse(rest, path);
  return all({
    policy: () => "parentBased" as const,
    noParent: () => samplerOf(noParent, path.field("noParent")),
    localParentNotSampled: () => samplerOf(localParentNotSampled, path.field("localParentNotSampled")),
    localParentSampled: () => samplerOf(localParentSampled, path.field("localParentSampled")),
    remoteParentNotSampled: () => samplerOf(remoteParentNotSampled, path.field("remoteParentNotSampled")),
    remoteParentSampled: () => samplerOf(remoteParentSampled, path.field("remoteParentSampled")),
  });
}

function attributeOf({ key, value, ...rest }: KeyValue, path: FieldPath): readonly [string, AttributeValue] {
  refuse(rest, path);
  const content = value?.value;
  if (content?.case !== "arrayValue") {
    return [key, scalarOf(value, path.field("value"))];
  }
  const { values, ...others } = content.value;
  const list = path.field("value.arrayValue");
  refuse(others, list);
  const scalars = each(values, (each, index) => scalarOf(each, list.field("values").index(index)));
  if (new Set(scalars.map((scalar) => typeof scalar)).size > 1) {
    throw new ConfigurationError(`${list}.values has values of several kinds: give one kind`);
  }
  return [key, scalars as readonly string[]];
}

const SCALARS = "give a stringValue, boolValue, intValue or doubleValue";

function scalarOf(value: AnyValue | undefined, path: FieldPath): string | number | boolean {
  if (value?.value.case === undefined) {
    throw new ConfigurationError(`${path} is missing: ${SCALARS}`);
  }
  const { value: content, ...rest } = value;
  refuse(rest, path);
  switch (content.case) {
    case "stringValue":
    case "boolValue":
    case "doubleValue":
      return content.value;
    case "intValue":
      return Number(content.value);
    default:
      throw unsupported(path.field(content.case), SCALARS);
  }
}
