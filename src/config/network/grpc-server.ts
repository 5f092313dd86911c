import type { GrpcServerSettings, GrpcServerTls } from "../../grpc/server.ts";
import type {
  AuthenticationPolicy,
  ServerConfiguration,
} from "../../proto/gen/buildbarn/configuration/grpc/grpc_pb.ts";
import { ConfigurationError } from "../error.ts";
import { type FieldPath, unsupported } from "../field-path.ts";
import { accept, refuse } from "../refuse.ts";
import { optional } from "../values.ts";
import { authenticationMetadata } from "./authentication.ts";
import { tlsServer } from "./tls.ts";

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
    ...rest
  } = configuration;
  const others = accept(rest, path, {
    keepaliveEnforcementPolicy: "clients may ping as often as they like",
    initialConnWindowSizeBytes: "the window of a connection is that of its streams",
    tracing: "no spans are recorded",
  });
  refuse(others, path, {
    healthCheckService: "grpc.health.v1.Health is not served; let a probe connect instead",
    keepaliveParameters: "let the client keep the connection alive, by its own keepalive",
    relays: "reach the other services at their own address",
  });
  if (listenAddresses.length + listenPaths.length === 0) {
    throw new ConfigurationError(
      `${path}: give listenAddresses ("HOST:PORT") or listenPaths ("/path/to/socket")`,
    );
  }
  allowAll(authenticationPolicy, path.field("authenticationPolicy"));
  return {
    listenAddresses,
    listenPaths,
    maximumReceivedMessageSizeBytes: optional(
      maximumReceivedMessageSizeBytes,
      path.field("maximumReceivedMessageSizeBytes"),
    ),
    initialWindowSizeBytes: optional(initialWindowSizeBytes, path.field("initialWindowSizeBytes")),
    tls: transportTls(transportSecurity, path),
    stopGracefully,
  };
}

const ALLOW_ALL =
  'give {"allow": {}}, and restrict who can reach the server by its address or the permissions of its socket';

function allowAll(configuration: AuthenticationPolicy | undefined, path: FieldPath): void {
  if (configuration?.policy.case === undefined) {
    throw new ConfigurationError(`${path} is missing: ${ALLOW_ALL}`);
  }
  const { policy, ...rest } = configuration;
  refuse(rest, path);
  if (policy.case !== "allow") {
    throw unsupported(path.field(policy.case), ALLOW_ALL);
  }
  authenticationMetadata(policy.value, path.field("allow"));
}

function transportTls(
  security: ServerConfiguration["transportSecurity"],
  path: FieldPath,
): GrpcServerTls | undefined {
  switch (security.case) {
    case undefined:
      return undefined;
    case "tls":
      return tlsServer(security.value, path.field("tls"));
    case "alts":
      throw unsupported(path.field("alts"), "use tls");
  }
}
