import type { JsonObject } from "@bufbuild/protobuf";
import { type GrpcEndpoint, type GrpcKeepalive, openChannel } from "../../grpc/endpoint.ts";
import type {
  ClientConfiguration,
  ClientConfiguration_HeaderValues,
  ClientKeepaliveConfiguration,
} from "../../proto/gen/buildbarn/configuration/grpc/grpc_pb.ts";
import { positiveMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import type { FieldPath } from "../field-path.ts";
import { jmespathSettings } from "../jmespath.ts";
import { accept, refuse } from "../refuse.ts";
import { nonEmpty, optional } from "../values.ts";
import { oauth2Settings } from "./http-client.ts";
import { tlsClient } from "./tls.ts";
import { tracedMethods } from "./traced-methods.ts";

/**
 * The endpoint that a ClientConfiguration describes. `path` is where it stands, for messages.
 *
 * Throws {@link ConfigurationError} where there is none, and for a setting that is not supported.
 */
export function grpcEndpoint(configuration: ClientConfiguration | undefined, path: FieldPath): GrpcEndpoint {
  if (configuration === undefined || configuration.address === "") {
    throw new ConfigurationError(`${path}.address is missing: give "HOST:PORT" or "unix:///path"`);
  }
  const {
    address,
    tls,
    keepalive,
    addMetadata,
    initialWindowSizeBytes,
    proxyUrl,
    defaultServiceConfig,
    addMetadataJmespathExpression,
    oauth2,
    tracing,
    ...rest
  } = configuration;
  const others = accept(rest, path, {
    initialConnWindowSizeBytes: "the window of a connection is that of its streams",
  });
  refuse(others, path);
  if (oauth2 !== undefined && tls === undefined) {
    throw new ConfigurationError(
      `${path}.tls is missing: tokens are only sent by TLS; give tls, or remove oauth2`,
    );
  }
  const windowSize = optional(initialWindowSizeBytes, path.field("initialWindowSizeBytes"));
  return {
    address,
    ...(tls && { tls: tlsClient(tls, path.field("tls")) }),
    ...(keepalive && { keepalive: grpcKeepalive(keepalive, path.field("keepalive")) }),
    ...(addMetadata.length > 0 && {
      metadata: addMetadata.flatMap((header, index) =>
        headers(header, path.field("addMetadata").index(index)),
      ),
    }),
    ...(addMetadataJmespathExpression && {
      metadataExpression: jmespathSettings(
        addMetadataJmespathExpression,
        path.field("addMetadataJmespathExpression"),
      ),
    }),
    ...(oauth2 && { oauth2: oauth2Settings(oauth2, path.field("oauth2")) }),
    ...(windowSize !== undefined && { initialWindowSizeBytes: windowSize }),
    ...(defaultServiceConfig && { serviceConfig: serviceConfigOf(defaultServiceConfig, path) }),
    ...(Object.keys(tracing).length > 0 && { tracing: tracedMethods(tracing, path.field("tracing")) }),
    ...(proxyUrl !== "" && { proxy: proxyOf(proxyUrl, path.field("proxyUrl")) }),
  };
}

function serviceConfigOf(configuration: JsonObject, path: FieldPath): string {
  const serviceConfig = JSON.stringify(configuration);
  try {
    // A channel, which connects when it is first used, checks it.
    openChannel({ address: "localhost:1", serviceConfig }).close();
  } catch (error) {
    throw new ConfigurationError(`${path}.defaultServiceConfig: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return serviceConfig;
}

function proxyOf(url: string, path: FieldPath): NonNullable<GrpcEndpoint["proxy"]> {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol !== "http:" || parsed.hostname === "") {
    throw new ConfigurationError(`${path} is ${JSON.stringify(url)}: give "http://HOST:PORT"`);
  }
  const { hostname, port, username, password } = parsed;
  return {
    address: `${hostname}:${port || "80"}`,
    ...(username !== "" && {
      credentials: `${decodeURIComponent(username)}:${decodeURIComponent(password)}`,
    }),
  };
}

function headers(
  { header, values, ...rest }: ClientConfiguration_HeaderValues,
  path: FieldPath,
): (readonly [string, string])[] {
  refuse(rest, path);
  if (header === "") {
    throw new ConfigurationError(`${path}.header is missing: give a header's name`);
  }
  return nonEmpty(values, path.field("values")).map((value) => [header, value] as const);
}

function grpcKeepalive(configuration: ClientKeepaliveConfiguration, path: FieldPath): GrpcKeepalive {
  const { time, timeout, permitWithoutStream, ...rest } = configuration;
  refuse(rest, path);
  return {
    timeMilliseconds: positiveMilliseconds(time, path.field("time")),
    timeoutMilliseconds: positiveMilliseconds(timeout, path.field("timeout")),
    permitWithoutStream,
  };
}
