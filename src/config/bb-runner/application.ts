import { resolve } from "node:path";
import type { GrpcEndpoint } from "../../grpc/endpoint.ts";
import type { ApplicationConfiguration } from "../../proto/gen/buildbarn/configuration/bb_runner/bb_runner_pb.ts";
import type { UNIXCredentialsConfiguration } from "../../proto/gen/buildbarn/configuration/credentials/credentials_pb.ts";
import { all, type DoneOtherwise, each, FieldPath } from "../field-path.ts";
import { type GlobalSettings, globalSettings } from "../global/global.ts";
import { grpcEndpoint } from "../network/grpc-client.ts";
import { type AuthenticatedServerSettings, grpcServerSettings, makesCalls } from "../network/grpc-server.ts";
import { refuse } from "../refuse.ts";
import { absolutePath, nonEmpty, pathOf } from "../values.ts";
import { type ConfinementSettings, confinementSettings } from "./confinement.ts";

/** What bb_runner's configuration says, checked. Paths are absolute: relative ones are of this process's directory. */
export interface BbRunnerSettings extends GlobalSettings {
  readonly buildDirectoryPath: string;
  readonly grpcServers: readonly AuthenticatedServerSettings[];
  readonly cleanTemporaryDirectories: readonly string[];
  readonly setTmpdirEnvironmentVariable: boolean;
  readonly temporaryDirectoryInstaller: GrpcEndpoint | undefined;
  readonly chrootIntoInputRoot: boolean;
  readonly cleanProcessTable: boolean;
  readonly readinessCheckingPathnames: readonly string[];
  /** Absent means the runner's own. */
  readonly runCommandsAs: UnixCredentials | undefined;
  readonly symlinkTemporaryDirectories: readonly string[];
  /** A command and its arguments; empty for none. */
  readonly runCommandCleaner: readonly string[];
  readonly confinement: ConfinementSettings;
  /** What is configured and has no effect. */
  readonly doneOtherwise: readonly DoneOtherwise[];
}

export interface UnixCredentials {
  readonly userId: number;
  readonly groupId: number;
  readonly additionalGroupIds: readonly number[];
}

/** Throws {@link ConfigurationError} with every field that is missing, wrong or not supported. */
export function bbRunnerSettings(
  configuration: ApplicationConfiguration,
  root = FieldPath.root(),
): BbRunnerSettings {
  return root.settingsOf((path) => ({
    ...applicationSettings(configuration, path),
    doneOtherwise: path.doneOtherwise,
  }));
}

function applicationSettings(
  configuration: ApplicationConfiguration,
  path: FieldPath,
): Omit<BbRunnerSettings, "doneOtherwise"> {
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
    temporaryDirectoryInstaller,
    ...rest
  } = configuration;
  refuse(rest, path, {
    appleXcodeDeveloperDirectories: "the runner runs on Linux only; remove it",
  });
  const paths = (name: string, list: readonly string[]) => () =>
    each(list, (item, index) => resolve(pathOf(item, path.field(name).index(index))));
  const forwardedHeaders = global?.grpcForwardAndReuseMetadata ?? [];
  const forwards = temporaryDirectoryInstaller !== undefined || grpcServers.some(makesCalls);
  const { global: globals, ...settings } = all({
    global: () =>
      globalSettings(
        forwards && global ? { ...global, grpcForwardAndReuseMetadata: [] } : global,
        path.field("global"),
      ),
    buildDirectoryPath: () => absolutePath(buildDirectoryPath, path.field("buildDirectoryPath")),
    grpcServers: () =>
      each(nonEmpty(grpcServers, path.field("grpcServers")), (server, index) =>
        grpcServerSettings(server, path.field("grpcServers").index(index), forwardedHeaders),
      ),
    cleanTemporaryDirectories: paths("cleanTemporaryDirectories", cleanTemporaryDirectories),
    setTmpdirEnvironmentVariable: () => setTmpdirEnvironmentVariable,
    temporaryDirectoryInstaller: () =>
      temporaryDirectoryInstaller && {
        ...grpcEndpoint(temporaryDirectoryInstaller, path.field("temporaryDirectoryInstaller")),
        forwardedHeaders,
      },
    chrootIntoInputRoot: () => chrootIntoInputRoot,
    cleanProcessTable: () => cleanProcessTable,
    readinessCheckingPathnames: paths("readinessCheckingPathnames", readinessCheckingPathnames),
    runCommandsAs: () => runCommandsAs && unixCredentials(runCommandsAs, path.field("runCommandsAs")),
    symlinkTemporaryDirectories: paths("symlinkTemporaryDirectories", symlinkTemporaryDirectories),
    runCommandCleaner: () => runCommandCleaner,
    confinement: () => confinementSettings(bbWorkerNfs4, path.field("bbWorkerNfs4")),
  });
  return { ...globals, ...settings };
}

function unixCredentials(
  { userId, groupId, additionalGroupIds, ...rest }: UNIXCredentialsConfiguration,
  path: FieldPath,
): UnixCredentials {
  refuse(rest, path);
  return { userId, groupId, additionalGroupIds };
}
