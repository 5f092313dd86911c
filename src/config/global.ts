import type {
  Configuration,
  SetResourceLimitConfiguration,
  SetUmaskConfiguration,
} from "../proto/gen/buildbarn/configuration/global/global_pb.ts";
import { ConfigurationError } from "./error.ts";
import { refuse } from "./refuse.ts";

/** What is configured for a whole process. */
export interface GlobalSettings {
  readonly umask: number | undefined;
  readonly resourceLimits: readonly ResourceLimit[];
}

/** A setrlimit(2). */
export interface ResourceLimit {
  /** RLIMIT_… of <sys/resource.h>. */
  readonly resource: number;
  readonly soft: bigint;
  readonly hard: bigint;
}

export function globalSettings(configuration: Configuration | undefined, path: string): GlobalSettings {
  if (configuration === undefined) {
    return { umask: undefined, resourceLimits: [] };
  }
  const { setUmask, setResourceLimits, ...rest } = configuration;
  refuse(rest, path, {
    tracing: "spans are not recorded; remove it",
    mutexProfileFraction: "it tunes Go's profiler; remove it",
    prometheusPushgateway: "metrics are not exported; remove it",
    logPaths: "the log goes to standard error; redirect that instead",
    diagnosticsHttpServer: "diagnostics are not served; remove it",
    grpcForwardAndReuseMetadata: "headers of incoming calls are not forwarded; remove it",
    grpcKubernetesResolvers: 'give addresses that DNS resolves, such as "dns:SERVICE.NAMESPACE:PORT"',
  });
  return {
    umask: setUmask && umaskOf(setUmask, `${path}.setUmask`),
    resourceLimits: Object.entries(setResourceLimits).map(([name, limit]) =>
      resourceLimit(name, limit, `${path}.setResourceLimits`),
    ),
  };
}

function umaskOf({ umask, ...rest }: SetUmaskConfiguration, path: string): number {
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

function resourceLimit(name: string, limit: SetResourceLimitConfiguration, path: string): ResourceLimit {
  const { softLimit = RLIM_INFINITY, hardLimit = RLIM_INFINITY, ...rest } = limit;
  const resource = RESOURCES[name];
  if (resource === undefined) {
    throw new ConfigurationError(
      `${path}: there is no limit ${JSON.stringify(name)}; give one of ${Object.keys(RESOURCES).join(", ")}`,
    );
  }
  refuse(rest, `${path}[${JSON.stringify(name)}]`);
  if (softLimit > hardLimit) {
    throw new ConfigurationError(
      `${path}[${JSON.stringify(name)}]: the soft limit is above the hard limit; lower it, or raise hardLimit`,
    );
  }
  return { resource, soft: softLimit, hard: hardLimit };
}
