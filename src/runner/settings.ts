import { isAbsolute } from "node:path";
import { ConfigurationError } from "../config/error.ts";
import { requireSupportedFields } from "../config/supported-fields.ts";
import {
  type ApplicationConfiguration,
  ApplicationConfigurationSchema,
} from "../proto/gen/buildbarn/configuration/bb_runner/bb_runner_pb.ts";
import {
  ConfigurationSchema as GlobalConfigurationSchema,
  type SetResourceLimitConfiguration,
} from "../proto/gen/buildbarn/configuration/global/global_pb.ts";
import type { ServerConfiguration } from "../proto/gen/buildbarn/configuration/grpc/grpc_pb.ts";
import type { Credentials, ResourceLimit } from "./command.ts";

/** What a runner is to do, checked. */
export interface RunnerSettings {
  /** Absolute. */
  readonly buildDirectory: string;
  readonly servers: readonly ServerConfiguration[];
  readonly chrootIntoInputRoot: boolean;
  readonly setTmpdirEnvironmentVariable: boolean;
  /** Absent means the runner's own. */
  readonly credentials: Credentials | undefined;
  readonly limits: readonly ResourceLimit[];
  readonly umask: number | undefined;
  /** Absolute paths. */
  readonly readinessPaths: readonly string[];
  readonly temporarySymlinks: readonly string[];
  readonly cleanTemporaryDirectories: readonly string[];
  readonly cleanProcessTable: boolean;
  /** A command and its arguments; empty for none. */
  readonly cleaningCommand: readonly string[];
}

/**
 * Checks a configuration. Throws a ConfigurationError naming a field that is missing, wrong, or not supported.
 */
export function runnerSettings(configuration: ApplicationConfiguration): RunnerSettings {
  requireSupportedFields(
    ApplicationConfigurationSchema,
    configuration,
    "",
    [
      "buildDirectoryPath",
      "grpcServers",
      "cleanTemporaryDirectories",
      "global",
      "setTmpdirEnvironmentVariable",
      "chrootIntoInputRoot",
      "cleanProcessTable",
      "readinessCheckingPathnames",
      "runCommandsAs",
      "symlinkTemporaryDirectories",
      "runCommandCleaner",
    ],
    { temporaryDirectoryInstaller: "use symlinkTemporaryDirectories or setTmpdirEnvironmentVariable" },
  );
  const { global } = configuration;
  if (global) {
    requireSupportedFields(GlobalConfigurationSchema, global, "global", ["setUmask", "setResourceLimits"]);
  }
  if (configuration.chrootIntoInputRoot && configuration.setTmpdirEnvironmentVariable) {
    throw new ConfigurationError(
      "setTmpdirEnvironmentVariable cannot be used with chrootIntoInputRoot, " +
        "since the temporary directory lies outside the input root: remove one of them",
    );
  }
  if (configuration.grpcServers.length === 0) {
    throw new ConfigurationError(
      "grpcServers: at least one is needed, such as { listenPaths: ['/worker/runner'] }",
    );
  }
  return {
    buildDirectory: absolutePath("buildDirectoryPath", configuration.buildDirectoryPath),
    servers: configuration.grpcServers,
    chrootIntoInputRoot: configuration.chrootIntoInputRoot,
    setTmpdirEnvironmentVariable: configuration.setTmpdirEnvironmentVariable,
    credentials: configuration.runCommandsAs,
    limits: Object.entries(global?.setResourceLimits ?? {}).map(([name, limit]) =>
      resourceLimit(name, limit),
    ),
    umask: global?.setUmask?.umask,
    readinessPaths: absolutePaths("readinessCheckingPathnames", configuration.readinessCheckingPathnames),
    temporarySymlinks: absolutePaths(
      "symlinkTemporaryDirectories",
      configuration.symlinkTemporaryDirectories,
    ),
    cleanTemporaryDirectories: absolutePaths(
      "cleanTemporaryDirectories",
      configuration.cleanTemporaryDirectories,
    ),
    cleanProcessTable: configuration.cleanProcessTable,
    cleaningCommand: configuration.runCommandCleaner,
  };
}

function absolutePaths(field: string, paths: readonly string[]): string[] {
  return paths.map((path, index) => absolutePath(`${field}[${index}]`, path));
}

function absolutePath(field: string, path: string): string {
  if (!isAbsolute(path) || path.includes("\0")) {
    throw new ConfigurationError(`${field}: expected an absolute path, got ${JSON.stringify(path)}`);
  }
  return path;
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

function resourceLimit(name: string, limit: SetResourceLimitConfiguration): ResourceLimit {
  const resource = RESOURCES[name];
  if (resource === undefined) {
    throw new ConfigurationError(
      `global.setResourceLimits: there is no limit ${JSON.stringify(name)}; expected one of ${Object.keys(RESOURCES).join(", ")}`,
    );
  }
  return { resource, soft: limit.softLimit ?? RLIM_INFINITY, hard: limit.hardLimit ?? RLIM_INFINITY };
}
