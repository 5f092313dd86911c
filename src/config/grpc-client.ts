import type { GrpcEndpoint, GrpcKeepalive } from "../grpc/endpoint.ts";
import type {
  ClientConfiguration,
  ClientConfiguration_HeaderValues,
  ClientKeepaliveConfiguration,
} from "../proto/gen/buildbarn/configuration/grpc/grpc_pb.ts";
import { positiveMilliseconds } from "./duration.ts";
import { ConfigurationError } from "./error.ts";
import { refuse } from "./refuse.ts";
import { tlsClient } from "./tls.ts";
import { nonEmpty, optional } from "./values.ts";

/**
 * The endpoint that a ClientConfiguration describes. `path` is where it stands, for messages.
 *
 * Throws {@link ConfigurationError} where there is none, and for a setting that is not supported.
 */
export function grpcEndpoint(configuration: ClientConfiguration | undefined, path: string): GrpcEndpoint {
  if (configuration === undefined || configuration.address === "") {
    throw new ConfigurationError(`${path}.address is missing: give "HOST:PORT" or "unix:///path"`);
  }
  const { address, tls, keepalive, addMetadata, initialWindowSizeBytes, ...rest } = configuration;
  refuse(rest, path, {
    addMetadataJmespathExpression: "use addMetadata, for headers that do not change",
    oauth2: "use addMetadata with a token, or a proxy that adds one",
    initialConnWindowSizeBytes: "use initialWindowSizeBytes",
    proxyUrl: "set grpc_proxy in the environment",
    tracing: "spans are not recorded; remove it",
    defaultServiceConfig: "how calls are retried is built in; remove it",
  });
  const windowSize = optional(initialWindowSizeBytes, `${path}.initialWindowSizeBytes`);
  return {
    address,
    ...(tls && { tls: tlsClient(tls, `${path}.tls`) }),
    ...(keepalive && { keepalive: grpcKeepalive(keepalive, `${path}.keepalive`) }),
    ...(addMetadata.length > 0 && {
      metadata: addMetadata.flatMap((header, index) => headers(header, `${path}.addMetadata[${index}]`)),
    }),
    ...(windowSize !== undefined && { initialWindowSizeBytes: windowSize }),
  };
}

function headers(
  { header, values, ...rest }: ClientConfiguration_HeaderValues,
  path: string,
): (readonly [string, string])[] {
  refuse(rest, path);
  if (header === "") {
    throw new ConfigurationError(`${path}.header is missing: give a header's name`);
  }
  return nonEmpty(values, `${path}.values`).map((value) => [header, value] as const);
}

function grpcKeepalive(configuration: ClientKeepaliveConfiguration, path: string): GrpcKeepalive {
  const { time, timeout, permitWithoutStream, ...rest } = configuration;
  refuse(rest, path);
  return {
    timeMilliseconds: positiveMilliseconds(time, `${path}.time`),
    timeoutMilliseconds: positiveMilliseconds(timeout, `${path}.timeout`),
    permitWithoutStream,
  };
}
