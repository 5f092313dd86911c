import { readFileSync } from "node:fs";
import type { GrpcEndpoint, GrpcKeepalive, GrpcTls } from "../grpc/endpoint.ts";
import {
  type ClientConfiguration,
  ClientConfigurationSchema,
  type ClientKeepaliveConfiguration,
} from "../proto/gen/buildbarn/configuration/grpc/grpc_pb.ts";
import {
  type ClientConfiguration as TlsClientConfiguration,
  ClientConfigurationSchema as TlsClientConfigurationSchema,
  type X509KeyPair,
} from "../proto/gen/buildbarn/configuration/tls/tls_pb.ts";
import { durationMilliseconds } from "./duration.ts";
import { ConfigurationError } from "./error.ts";
import { requireSupportedFields } from "./supported-fields.ts";

/**
 * The endpoint that a ClientConfiguration describes. `path` is where it stands, for messages. Files with keys
 * and certificates are read here, once.
 *
 * Throws {@link ConfigurationError} where there is none, and for a setting that is not supported.
 */
export function grpcEndpoint(configuration: ClientConfiguration | undefined, path: string): GrpcEndpoint {
  if (configuration === undefined || configuration.address === "") {
    throw new ConfigurationError(`${path}.address is missing: give "HOST:PORT" or "unix:///path"`);
  }
  requireSupportedFields(
    ClientConfigurationSchema,
    configuration,
    path,
    ["address", "tls", "keepalive", "addMetadata", "initialWindowSizeBytes"],
    {
      addMetadataJmespathExpression: "use addMetadata for headers that do not change",
      oauth2: "use addMetadata with a token, or a proxy that adds one",
      initialConnWindowSizeBytes: "use initialWindowSizeBytes",
    },
  );
  const { address, tls, keepalive, addMetadata, initialWindowSizeBytes } = configuration;
  return {
    address,
    ...(tls && { tls: clientTls(tls, `${path}.tls`) }),
    ...(keepalive && { keepalive: grpcKeepalive(keepalive, `${path}.keepalive`) }),
    ...(addMetadata.length > 0 && {
      metadata: addMetadata.flatMap(({ header, values }) => values.map((value) => [header, value] as const)),
    }),
    ...(initialWindowSizeBytes > 0 && { initialWindowSizeBytes }),
  };
}

function grpcKeepalive(configuration: ClientKeepaliveConfiguration, path: string): GrpcKeepalive {
  return {
    timeMilliseconds: required(
      durationMilliseconds(configuration.time, `${path}.time`, undefined),
      `${path}.time`,
    ),
    timeoutMilliseconds: required(
      durationMilliseconds(configuration.timeout, `${path}.timeout`, undefined),
      `${path}.timeout`,
    ),
    permitWithoutStream: configuration.permitWithoutStream,
  };
}

function required(value: number | undefined, path: string): number {
  if (value === undefined) {
    throw new ConfigurationError(`${path} is missing: give a duration such as "60s"`);
  }
  return value;
}

function clientTls(configuration: TlsClientConfiguration, path: string): GrpcTls {
  requireSupportedFields(TlsClientConfigurationSchema, configuration, path, [
    "serverCertificateAuthorities",
    "serverName",
    "clientKeyPair",
  ]);
  const { serverCertificateAuthorities, serverName, clientKeyPair } = configuration;
  return {
    ...(serverCertificateAuthorities !== "" && { serverCertificateAuthorities }),
    ...(serverName !== "" && { serverName }),
    ...(clientKeyPair && keyPair(clientKeyPair, `${path}.clientKeyPair`)),
  };
}

/** The PEM texts of a key pair, given inline or as files. */
export function keyPair(
  configuration: X509KeyPair,
  path: string,
): { certificate: string; privateKey: string } {
  const { keyPair: source } = configuration;
  switch (source.case) {
    case "inline":
      return { certificate: source.value.certificate, privateKey: source.value.privateKey };
    case "files":
      if (source.value.refreshInterval !== undefined) {
        throw new ConfigurationError(
          `${path}.files.refreshInterval is not supported: remove it, and restart when the files change`,
        );
      }
      return {
        certificate: readPem(source.value.certificatePath, `${path}.files.certificatePath`),
        privateKey: readPem(source.value.privateKeyPath, `${path}.files.privateKeyPath`),
      };
    default:
      throw new ConfigurationError(`${path} is empty: give inline or files`);
  }
}

function readPem(file: string, path: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigurationError(`${path}: ${(error as Error).message}`, { cause: error });
  }
}
