import { create, type Message } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { asksForPeerCredentials, clientCertificateAuthorities } from "../../authentication/authorities.ts";
import type { AuthenticationSettings } from "../../authentication/settings.ts";
import type { GrpcServerKeepalive, GrpcServerSettings } from "../../grpc/server.ts";
import type { RelaySettings } from "../../grpc/services/relay.ts";
import type { TlsServer } from "../../http/tls.ts";
import {
  type AllAuthenticationPolicy,
  type AnyAuthenticationPolicy,
  type AuthenticationPolicy,
  type ServerConfiguration,
  type ServerKeepaliveParameters,
  ServerKeepaliveParametersSchema,
  type ServerRelayConfiguration,
} from "../../proto/gen/buildbarn/configuration/grpc/grpc_pb.ts";
import { durationMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import { all, each, type FieldPath, unsupported } from "../field-path.ts";
import { accept, refuse } from "../refuse.ts";
import { optional } from "../values.ts";
import {
  allowSettings,
  clientCertificateSettings,
  jwtSettings,
  peerCredentialsSettings,
  remoteSettings,
} from "./authentication.ts";
import { grpcEndpoint } from "./grpc-client.ts";
import { tlsServer } from "./tls.ts";
import { tracedMethods } from "./traced-methods.ts";

/** A server, and who may call it. */
export interface AuthenticatedServerSettings extends GrpcServerSettings {
  readonly authentication: AuthenticationSettings;
  /** Whom it passes calls of other services on to. */
  readonly relays: readonly RelaySettings[];
}

/**
 * @param path Where the configuration stands, for messages.
 * @param forwardedHeaders What calls that are made for those of the server have of them.
 */
export function grpcServerSettings(
  configuration: ServerConfiguration,
  path: FieldPath,
  forwardedHeaders: readonly string[] = [],
): AuthenticatedServerSettings {
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
    relays,
    ...rest
  } = configuration;
  const others = accept(rest, path, {
    keepaliveEnforcementPolicy: "clients may ping as often as they like",
    initialConnWindowSizeBytes: "the window of a connection is that of its streams",
  });
  refuse(others, path);
  if (listenAddresses.length + listenPaths.length === 0) {
    throw new ConfigurationError(
      `${path}: give listenAddresses ("HOST:PORT") or listenPaths ("/path/to/socket")`,
    );
  }
  const { authentication, ...settings } = all({
    listenAddresses: () => listenAddresses,
    listenPaths: () => listenPaths,
    maximumReceivedMessageSizeBytes: () =>
      optional(maximumReceivedMessageSizeBytes, path.field("maximumReceivedMessageSizeBytes")),
    initialWindowSizeBytes: () => optional(initialWindowSizeBytes, path.field("initialWindowSizeBytes")),
    tls: () => transportTls(transportSecurity, path),
    keepalive: () => keepaliveOf(keepaliveParameters, path.field("keepaliveParameters")),
    authentication: () =>
      authenticationSettings(authenticationPolicy, path.field("authenticationPolicy"), forwardedHeaders),
    healthCheckService: () => healthCheckService,
    stopGracefully: () => stopGracefully,
    tracing: () => tracedMethods(tracing, path.field("tracing")),
    relays: () => relaysOf(relays, path.field("relays"), forwardedHeaders),
  });
  if (settings.tls !== undefined && asksForPeerCredentials(authentication)) {
    throw new ConfigurationError(
      `${path}.authenticationPolicy: peerCredentialsJmespathExpression and tls cannot be had together; ` +
        "give one of them to another server",
    );
  }
  return {
    ...settings,
    authentication,
    clientCertificateAuthorities: authoritiesOf(authentication, path.field("authenticationPolicy")),
  };
}

function relaysOf(
  relays: readonly ServerRelayConfiguration[],
  path: FieldPath,
  forwardedHeaders: readonly string[],
): readonly RelaySettings[] {
  const relayed = new Set<string>();
  return each(relays, ({ endpoint, services, ...rest }, index) => {
    const here = path.index(index);
    refuse(rest, here);
    return all({
      endpoint: () => ({
        ...grpcEndpoint(endpoint, here.field("endpoint")),
        ...(forwardedHeaders.length > 0 && { forwardedHeaders }),
      }),
      services: () =>
        each(services, (service, serviceIndex) => {
          if (service === "" || relayed.has(service)) {
            throw new ConfigurationError(
              `${here.field("services").index(serviceIndex)} is ${JSON.stringify(service)}: ` +
                "give the full name of a service, each once in all relays",
            );
          }
          relayed.add(service);
          return service;
        }),
    });
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

/** Whether calls are made for those that come in. */
export function makesCalls({ authenticationPolicy, relays }: ServerConfiguration): boolean {
  return relays.length > 0 || asksElsewhere(authenticationPolicy);
}

function asksElsewhere(configuration: AuthenticationPolicy | undefined): boolean {
  const policy = configuration?.policy;
  return policy?.case === "any" || policy?.case === "all"
    ? policy.value.policies.some(asksElsewhere)
    : policy?.case === "remote";
}

function authenticationSettings(
  configuration: AuthenticationPolicy | undefined,
  path: FieldPath,
  forwardedHeaders: readonly string[],
): AuthenticationSettings {
  if (configuration?.policy.case === undefined) {
    throw new ConfigurationError(
      `${path} is missing: ` +
        'give {"allow": {}}, and restrict who can reach the server by its address or the permissions of its socket',
    );
  }
  const { policy, ...rest } = configuration;
  refuse(rest, path);
  const inner = path.field(policy.case);
  switch (policy.case) {
    case "allow":
      return allowSettings(policy.value, inner);
    case "deny":
      return { kind: "deny", message: policy.value };
    case "any":
    case "all":
      return { kind: policy.case, policies: policiesOf(policy.value, inner, forwardedHeaders) };
    case "tlsClientCertificate":
      return clientCertificateSettings(policy.value, inner);
    case "jwt":
      return jwtSettings(policy.value, inner);
    case "peerCredentialsJmespathExpression":
      return peerCredentialsSettings(policy.value, inner);
    case "remote":
      return remoteSettings(policy.value, inner, checkHeader, forwardedHeaders);
  }
}

function checkHeader(name: string, path: FieldPath): void {
  if (!/^[-.\w]+$/.test(name)) {
    throw new ConfigurationError(
      `${path} is ${JSON.stringify(name)}: give a header's name, of letters, digits, "-", "_" and "."`,
    );
  }
}

function policiesOf(
  { policies, ...rest }: AnyAuthenticationPolicy | AllAuthenticationPolicy,
  path: FieldPath,
  forwardedHeaders: readonly string[],
): readonly AuthenticationSettings[] {
  refuse<typeof rest & Message>(rest, path);
  return each(policies, (policy, index) =>
    authenticationSettings(policy, path.field("policies").index(index), forwardedHeaders),
  );
}

/** A handshake has one set of authorities; which of them have signed a certificate is not asked again. */
function authoritiesOf(authentication: AuthenticationSettings, path: FieldPath): string | undefined {
  const [authorities, ...others] = clientCertificateAuthorities(authentication);
  if (others.length > 0) {
    throw unsupported(
      path,
      "its tlsClientCertificate have different clientCertificateAuthorities; give all of them the same",
    );
  }
  return authorities;
}

function transportTls(
  security: ServerConfiguration["transportSecurity"],
  path: FieldPath,
): TlsServer | undefined {
  switch (security.case) {
    case undefined:
      return undefined;
    case "tls":
      return tlsServer(security.value, path.field("tls"));
    case "alts":
      throw unsupported(path.field("alts"), "use tls");
  }
}
