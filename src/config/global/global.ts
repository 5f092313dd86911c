import type { GrpcEndpoint } from "../../grpc/endpoint.ts";
import type { KubernetesResolverSettings } from "../../grpc/kubernetes/resolver.ts";
import type {
  Configuration,
  DiagnosticsHTTPServerConfiguration,
  GRPCKubernetesResolver,
  SetResourceLimitConfiguration,
  SetUmaskConfiguration,
} from "../../proto/gen/buildbarn/configuration/global/global_pb.ts";
import type { DiagnosticsSettings } from "../../telemetry/diagnostics.ts";
import type { TelemetrySettings } from "../../telemetry/telemetry.ts";
import { ConfigurationError } from "../error.ts";
import { all, each, type FieldPath } from "../field-path.ts";
import { httpClientSettings, httpUrl } from "../network/http-client.ts";
import { httpServerSettings } from "../network/http-server.ts";
import { accept, refuse } from "../refuse.ts";
import { pushgatewaySettings } from "./pushgateway.ts";
import { tracingSettings } from "./tracing.ts";

/** What is configured for a whole process. */
export interface GlobalSettings extends TelemetrySettings<GrpcEndpoint> {
  readonly umask: number | undefined;
  readonly resourceLimits: readonly ResourceLimit[];
  /** Files that get the log, too. */
  readonly logPaths: readonly string[];
  /** By which channels look up addresses. */
  readonly kubernetesResolvers: readonly KubernetesResolverSettings[];
}

/** A setrlimit(2). */
export interface ResourceLimit {
  /** Without RLIMIT_. */
  readonly name: string;
  /** RLIMIT_… of <sys/resource.h>. */
  readonly resource: number;
  readonly soft: bigint;
  readonly hard: bigint;
}

export function globalSettings(configuration: Configuration | undefined, path: FieldPath): GlobalSettings {
  if (configuration === undefined) {
    return {
      umask: undefined,
      resourceLimits: [],
      logPaths: [],
      diagnostics: NO_DIAGNOSTICS,
      pushgateway: undefined,
      tracing: undefined,
      kubernetesResolvers: [],
    };
  }
  const {
    setUmask,
    setResourceLimits,
    logPaths,
    diagnosticsHttpServer,
    prometheusPushgateway,
    tracing,
    grpcKubernetesResolvers,
    ...rest
  } = configuration;
  const others = accept(rest, path, {
    mutexProfileFraction: "there are no mutexes to profile",
    grpcForwardAndReuseMetadata: "no call is made on behalf of one that comes in",
  });
  refuse(others, path);
  return all({
    umask: () => setUmask && umaskOf(setUmask, path.field("setUmask")),
    resourceLimits: () =>
      each(Object.entries(setResourceLimits), ([name, limit]) =>
        resourceLimit(name, limit, path.field("setResourceLimits")),
      ),
    logPaths: () => logPaths,
    diagnostics: () =>
      diagnosticsHttpServer === undefined
        ? NO_DIAGNOSTICS
        : diagnosticsSettings(diagnosticsHttpServer, path.field("diagnosticsHttpServer")),
    pushgateway: () =>
      prometheusPushgateway &&
      pushgatewaySettings(prometheusPushgateway, path.field("prometheusPushgateway")),
    tracing: () => tracing && tracingSettings(tracing, path.field("tracing")),
    kubernetesResolvers: () =>
      each(Object.entries(grpcKubernetesResolvers), ([scheme, resolver]) =>
        kubernetesResolver(scheme, resolver, path.field("grpcKubernetesResolvers").key(scheme)),
      ),
  });
}

/** Schemes that gRPC has itself. */
const TAKEN = ["dns", "unix", "unix-abstract", "ipv4", "ipv6", "http", "https"];

function kubernetesResolver(
  scheme: string,
  { apiServerHttpClient, apiServerUrl, ...rest }: GRPCKubernetesResolver,
  path: FieldPath,
): KubernetesResolverSettings {
  refuse(rest, path);
  return all({
    scheme: () => {
      if (!/^[a-z][-+.a-z0-9]*$/.test(scheme) || TAKEN.includes(scheme)) {
        throw new ConfigurationError(`${path}: its key is no new scheme; give one such as "kubernetes"`);
      }
      return scheme;
    },
    apiServerUrl: () => httpUrl(apiServerUrl, path.field("apiServerUrl")),
    apiServerHttpClient: () => httpClientSettings(apiServerHttpClient, path.field("apiServerHttpClient")),
  });
}

const NO_DIAGNOSTICS: DiagnosticsSettings = {
  servers: [],
  prometheus: false,
  activeSpans: false,
  profiles: false,
};

function diagnosticsSettings(
  {
    httpServers,
    enablePrometheus,
    enableActiveSpans,
    enablePprof,
    ...rest
  }: DiagnosticsHTTPServerConfiguration,
  path: FieldPath,
): DiagnosticsSettings {
  refuse(rest, path);
  return all({
    servers: () =>
      each(httpServers, (server, index) =>
        httpServerSettings(server, path.field("httpServers").index(index)),
      ),
    prometheus: () => enablePrometheus,
    activeSpans: () => enableActiveSpans,
    profiles: () => enablePprof,
  });
}

function umaskOf({ umask, ...rest }: SetUmaskConfiguration, path: FieldPath): number {
  refuse(rest, path);
  if (umask > 0o777) {
    throw new ConfigurationError(`${path}.umask is ${umask}: give at most 511, which is 0777`);
  }
  return umask;
}

/** Linux's numbers, which are the same on all architectures Node runs on. */
const RESOURCES: Readonly<Record<string, number>> = {
  CPU: 0,
  FSIZE: 1,
  DATA: 2,
  STACK: 3,
  CORE: 4,
  RSS: 5,
  NPROC: 6,
  NOFILE: 7,
  MEMLOCK: 8,
  AS: 9,
  LOCKS: 10,
  SIGPENDING: 11,
  MSGQUEUE: 12,
  NICE: 13,
  RTPRIO: 14,
  RTTIME: 15,
};

const RLIM_INFINITY = 2n ** 64n - 1n;

function resourceLimit(name: string, limit: SetResourceLimitConfiguration, path: FieldPath): ResourceLimit {
  const { softLimit = RLIM_INFINITY, hardLimit = RLIM_INFINITY, ...rest } = limit;
  const resource = RESOURCES[name];
  if (resource === undefined) {
    throw new ConfigurationError(
      `${path}: there is no limit ${JSON.stringify(name)}; give one of ${Object.keys(RESOURCES).join(", ")}`,
    );
  }
  refuse(rest, path.key(name));
  if (softLimit > hardLimit) {
    throw new ConfigurationError(
      `${path}[${JSON.stringify(name)}]: the soft limit is above the hard limit; lower it, or raise hardLimit`,
    );
  }
  return { name, resource, soft: softLimit, hard: hardLimit };
}
