import { create, type Message } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import type { KeyPair } from "../../grpc/certificates.ts";
import type { GrpcServerKeepalive, GrpcServerSettings } from "../../grpc/server.ts";
import {
  type AllAuthenticationPolicy,
  type AnyAuthenticationPolicy,
  type AuthenticationPolicy,
  type ServerConfiguration,
  type ServerKeepaliveParameters,
  ServerKeepaliveParametersSchema,
} from "../../proto/gen/buildbarn/configuration/grpc/grpc_pb.ts";
import { durationMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import { all, each, type FieldPath, unsupported } from "../field-path.ts";
import { accept, refuse } from "../refuse.ts";
import { optional } from "../values.ts";
import { authenticationMetadata } from "./authentication.ts";
import { tlsServer } from "./tls.ts";
import { tracedMethods } from "./traced-methods.ts";

/** @param path Where the configuration stands, for messages. */
export function grpcServerSettings(configuration: ServerConfiguration, path: FieldPath): GrpcServerSettings {
  const {
    listenAddresses,
    listenPaths,
    authenticationPolicy,
    maximumReceivedMessageSizeBytes,
    initialWindowSizeBytes,
    transportSecurity,
    stopGracefully,
    healthCheckService,
    keepaliveParameters,
    tracing,
    ...rest
  } = configuration;
  const others = accept(rest, path, {
    keepaliveEnforcementPolicy: "clients may ping as often as they like",
    initialConnWindowSizeBytes: "the window of a connection is that of its streams",
  });
  refuse(others, path, {
    relays: "reach the other services at their own address",
  });
  if (listenAddresses.length + listenPaths.length === 0) {
    throw new ConfigurationError(
      `${path}: give listenAddresses ("HOST:PORT") or listenPaths ("/path/to/socket")`,
    );
  }
  return all({
    listenAddresses: () => listenAddresses,
    listenPaths: () => listenPaths,
    maximumReceivedMessageSizeBytes: () =>
      optional(maximumReceivedMessageSizeBytes, path.field("maximumReceivedMessageSizeBytes")),
    initialWindowSizeBytes: () => optional(initialWindowSizeBytes, path.field("initialWindowSizeBytes")),
    tls: () => transportTls(transportSecurity, path),
    keepalive: () => keepaliveOf(keepaliveParameters, path.field("keepaliveParameters")),
    denied: () => denialOf(authenticationPolicy, path.field("authenticationPolicy")),
    healthCheckService: () => healthCheckService,
    stopGracefully: () => stopGracefully,
    tracing: () => tracedMethods(tracing, path.field("tracing")),
  });
}

function keepaliveOf(
  configuration: ServerKeepaliveParameters | undefined,
  path: FieldPath,
): GrpcServerKeepalive {
  const { maxConnectionIdle, maxConnectionAge, maxConnectionAgeGrace, time, timeout, ...rest } =
    configuration ?? create(ServerKeepaliveParametersSchema);
  refuse(rest, path);
  // 0, as absence, means the default.
  const milliseconds = (name: string, duration: Duration | undefined) => () =>
    durationMilliseconds(duration, path.field(name), 0) || undefined;
  return all({
    maximumConnectionIdle: milliseconds("maxConnectionIdle", maxConnectionIdle),
    maximumConnectionAge: milliseconds("maxConnectionAge", maxConnectionAge),
    maximumConnectionAgeGrace: milliseconds("maxConnectionAgeGrace", maxConnectionAgeGrace),
    time: milliseconds("time", time),
    timeout: milliseconds("timeout", timeout),
  });
}

const ALLOW_ALL =
  'give {"allow": {}}, and restrict who can reach the server by its address or the permissions of its socket';

/** The reason to refuse everybody, or undefined to serve everybody. */
function denialOf(configuration: AuthenticationPolicy | undefined, path: FieldPath): string | undefined {
  if (configuration?.policy.case === undefined) {
    throw new ConfigurationError(`${path} is missing: ${ALLOW_ALL}`);
  }
  const { policy, ...rest } = configuration;
  refuse(rest, path);
  switch (policy.case) {
    case "allow":
      authenticationMetadata(policy.value, path.field("allow"));
      return undefined;
    case "deny":
      return policy.value;
    case "any": {
      const denials = denialsOf(policy.value, path.field("any"));
      return denials.includes(undefined) ? undefined : denials.join(", ") || "no authenticators configured";
    }
    case "all":
      return denialsOf(policy.value, path.field("all")).find((denial) => denial !== undefined);
    default:
      throw unsupported(path.field(policy.case), ALLOW_ALL);
  }
}

function denialsOf(
  { policies, ...rest }: AnyAuthenticationPolicy | AllAuthenticationPolicy,
  path: FieldPath,
): readonly (string | undefined)[] {
  refuse<typeof rest & Message>(rest, path);
  return each(policies, (policy, index) => denialOf(policy, path.field("policies").index(index)));
}

function transportTls(
  security: ServerConfiguration["transportSecurity"],
  path: FieldPath,
): KeyPair | undefined {
  switch (security.case) {
    case undefined:
      return undefined;
    case "tls":
      return tlsServer(security.value, path.field("tls"));
    case "alts":
      throw unsupported(path.field("alts"), "use tls");
  }
}
