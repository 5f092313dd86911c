import type { Message } from "@bufbuild/protobuf";
import type { GrpcEndpoint } from "../../grpc/endpoint.ts";
import type {
  TracingConfiguration,
  TracingConfiguration_Backend,
  TracingConfiguration_Backend_BatchSpanProcessor,
  TracingConfiguration_Sampler,
  TracingConfiguration_Sampler_ParentBased,
} from "../../proto/gen/buildbarn/configuration/global/global_pb.ts";
import type {
  AnyValue,
  ArrayValue,
  KeyValue,
} from "../../proto/gen/opentelemetry/proto/common/v1/common_pb.ts";
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
        ).flat(),
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
            "OpenTelemetry has dropped Jaeger's own protocol; use otlpSpanExporter, which Jaeger takes since its version 1.35",
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

/** A resource's attributes are, as Buildbarn has them, scalars and lists of one kind of them. An empty list is none. */
function attributeOf(
  { key, value, ...rest }: KeyValue,
  path: FieldPath,
): readonly (readonly [string, AttributeValue])[] {
  refuse(rest, path);
  const here = path.field("value");
  if (value === undefined) {
    throw missing(here);
  }
  const { value: content, ...others } = value;
  refuse(others, here);
  switch (content.case) {
    case "arrayValue": {
      const list = listOf(content.value, here.field("arrayValue"));
      return list.length === 0 ? [] : [[key, list as readonly string[]]];
    }
    default:
      return [[key, scalarOf(value, here)]];
  }
}

function listOf({ values, ...rest }: ArrayValue, path: FieldPath): readonly Scalar[] {
  refuse<typeof rest & Message>(rest, path);
  const list = each(values, (item, index) => scalarOf(item, path.field("values").index(index)));
  if (new Set(values.map((item) => item.value.case)).size > 1) {
    throw new ConfigurationError(`${path}.values has values of several kinds: give one kind`);
  }
  return list;
}

type Scalar = string | number | boolean;

function missing(path: FieldPath): ConfigurationError {
  return new ConfigurationError(`${path} is missing: give a stringValue, boolValue, intValue or doubleValue`);
}

const NO_SCALARS = {
  arrayValue: "OpenTelemetry's SDK, as Buildbarn, has no lists in lists; give the values by themselves",
  kvlistValue:
    "a resource of OpenTelemetry's SDK, as of Buildbarn's, has no maps; give an attribute for each value",
  bytesValue: "a resource of OpenTelemetry's SDK, as of Buildbarn's, has no bytes; give a stringValue",
} as const;

function scalarOf(value: AnyValue | undefined, path: FieldPath): Scalar {
  if (value?.value.case === undefined) {
    throw missing(path);
  }
  const { value: content, ...rest } = value;
  refuse(rest, path);
  switch (content.case) {
    case "stringValue":
    case "boolValue":
    case "doubleValue":
      return content.value;
    case "intValue":
      return safeInteger(content.value, path.field("intValue"));
    default:
      throw unsupported(path.field(content.case), NO_SCALARS[content.case]);
  }
}

function safeInteger(value: bigint, path: FieldPath): number {
  if (!Number.isSafeInteger(Number(value))) {
    throw new ConfigurationError(
      `${path} is ${value}: OpenTelemetry's SDK has numbers of up to 2^53 - 1; give a stringValue`,
    );
  }
  return Number(value);
}
