import type { GrpcServerSettings } from "../../grpc/server.ts";
import type { ApplicationConfiguration } from "../../proto/gen/buildbarn/configuration/bb_runner/bb_runner_pb.ts";
import type { UNIXCredentialsConfiguration } from "../../proto/gen/buildbarn/configuration/credentials/credentials_pb.ts";
import { ConfigurationError } from "../error.ts";
import { type GlobalSettings, globalSettings } from "../global.ts";
import { grpcServerSettings } from "../grpc-server.ts";
import { refuse } from "../refuse.ts";
import { absolutePath, absolutePaths, nonEmpty } from "../values.ts";
import { type ConfinementSettings, confinementSettings } from "./confinement.ts";

/** What bb_runner's configuration says, checked. Paths are absolute. */
export interface BbRunnerSettings extends GlobalSettings {
  readonly buildDirectoryPath: string;
  readonly grpcServers: readonly GrpcServerSettings[];
  readonly cleanTemporaryDirectories: readonly string[];
  readonly setTmpdirEnvironmentVariable: boolean;
  readonly chrootIntoInputRoot: boolean;
  readonly cleanProcessTable: boolean;
  readonly readinessCheckingPathnames: readonly string[];
  /** Absent means the runner's own. */
  readonly runCommandsAs: UnixCredentials | undefined;
  readonly symlinkTemporaryDirectories: readonly string[];
  /** A command and its arguments; empty for none. */
  readonly runCommandCleaner: readonly string[];
  readonly confinement: ConfinementSettings;
}

export interface UnixCredentials {
  readonly userId: number;
  readonly groupId: number;
  readonly additionalGroupIds: readonly number[];
}

/** Throws {@link ConfigurationError} naming the field that is missing, wrong or not supported. */
export function bbRunnerSettings(configuration: ApplicationConfiguration): BbRunnerSettings {
  const {
    buildDirectoryPath,
    grpcServers,
    cleanTemporaryDirectories,
    global,
    setTmpdirEnvironmentVariable,
    chrootIntoInputRoot,
    cleanProcessTable,
    readinessCheckingPathnames,
    runCommandsAs,
    symlinkTemporaryDirectories,
    runCommandCleaner,
    bbWorkerNfs4,
    ...rest
  } = configuration;
  refuse(rest, "", {
    temporaryDirectoryInstaller: "use symlinkTemporaryDirectories or setTmpdirEnvironmentVariable",
    appleXcodeDeveloperDirectories: "the runner runs on Linux only; remove it",
  });
  if (chrootIntoInputRoot && setTmpdirEnvironmentVariable) {
    throw new ConfigurationError(
      "setTmpdirEnvironmentVariable cannot be used with chrootIntoInputRoot, " +
        "since the temporary directory lies outside the input root: remove one of them",
    );
  }
  return {
    ...globalSettings(global, "global"),
    buildDirectoryPath: absolutePath(buildDirectoryPath, "buildDirectoryPath"),
    grpcServers: nonEmpty(grpcServers, "grpcServers").map((server, index) =>
      grpcServerSettings(server, `grpcServers[${index}]`),
    ),
    cleanTemporaryDirectories: absolutePaths(cleanTemporaryDirectories, "cleanTemporaryDirectories"),
    setTmpdirEnvironmentVariable,
    chrootIntoInputRoot,
    cleanProcessTable,
    readinessCheckingPathnames: absolutePaths(readinessCheckingPathnames, "readinessCheckingPathnames"),
    runCommandsAs: runCommandsAs && unixCredentials(runCommandsAs, "runCommandsAs"),
    symlinkTemporaryDirectories: absolutePaths(symlinkTemporaryDirectories, "symlinkTemporaryDirectories"),
    runCommandCleaner,
    confinement: confinementSettings(bbWorkerNfs4, "bbWorkerNfs4"),
  };
}

function unixCredentials(
  { userId, groupId, additionalGroupIds, ...rest }: UNIXCredentialsConfiguration,
  path: string,
): UnixCredentials {
  refuse(rest, path);
  return { userId, groupId, additionalGroupIds };
}
