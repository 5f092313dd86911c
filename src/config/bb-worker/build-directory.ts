import type { VirtualBuildDirectory } from "../../proto/gen/bb_worker_nfs4/bb_worker/bb_worker_pb.ts";
import type {
  BuildDirectoryConfiguration,
  VirtualBuildDirectoryConfiguration,
} from "../../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import { durationMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import { all, each, type FieldPath, unsupported } from "../field-path.ts";
import { refuse } from "../refuse.ts";
import { nonEmpty } from "../values.ts";
import { type MountSettings, mountSettings } from "./mount.ts";
import { type RunnerSettings, runnerSettings } from "./runner.ts";

/** A mount, and the runners that see it. */
export interface BuildDirectorySettings extends MountSettings {
  /** Milliseconds. */
  readonly maximumExecutionTimeoutCompensation: number;
  /** Milliseconds that the kernel may take to write back what an action wrote. */
  readonly maximumWritableFileUploadDelay: number;
  /** Whether directories of input roots are listed in an order that chance decides. */
  readonly shuffleDirectoryListings: boolean;
  /** A regular expression (with the flag "u") for names of what is not listed, unless it is a directory. */
  readonly hiddenFilesPattern: string | undefined;
  readonly inputsReadOnly: boolean;
  readonly runners: readonly RunnerSettings[];
}

const DEFAULT_UPLOAD_DELAY = 60_000;

export function buildDirectorySettings(
  configuration: BuildDirectoryConfiguration,
  path: FieldPath,
): BuildDirectorySettings {
  const { backend, runners, ...rest } = configuration;
  refuse(rest, path);
  const { mount, runners: runnersSettings } = all({
    mount: () => virtualSettings(virtualOf(backend, path), path.field("virtual")),
    runners: () =>
      each(nonEmpty(runners, path.field("runners")), (runner, index) =>
        runnerSettings(runner, path.field("runners").index(index)),
      ),
  });
  return { ...mount, runners: runnersSettings };
}

function virtualOf(
  backend: BuildDirectoryConfiguration["backend"],
  path: FieldPath,
): VirtualBuildDirectoryConfiguration {
  switch (backend.case) {
    case "virtual":
      return backend.value;
    case "native":
      throw unsupported(
        path.field("native"),
        "input roots are always served by NFSv4; give virtual.mount.nfsv4, or use Buildbarn's own worker",
      );
    case undefined:
      throw new ConfigurationError(`${path}.virtual is missing: give a mount`);
  }
}

function virtualSettings(
  configuration: VirtualBuildDirectoryConfiguration,
  path: FieldPath,
): Omit<BuildDirectorySettings, "runners"> {
  const {
    mount,
    maximumExecutionTimeoutCompensation,
    maximumWritableFileUploadDelay,
    shuffleDirectoryListings,
    hiddenFilesPattern,
    bbWorkerNfs4,
    ...rest
  } = configuration;
  refuse(rest, path, { caseInsensitive: "case always matters; remove it" });
  const { mount: mountOf, ...others } = all({
    mount: () => mountSettings(mount, path.field("mount")),
    maximumExecutionTimeoutCompensation: () =>
      durationMilliseconds(
        maximumExecutionTimeoutCompensation,
        path.field("maximumExecutionTimeoutCompensation"),
        0,
      ),
    maximumWritableFileUploadDelay: () =>
      durationMilliseconds(
        maximumWritableFileUploadDelay,
        path.field("maximumWritableFileUploadDelay"),
        DEFAULT_UPLOAD_DELAY,
      ),
    hiddenFilesPattern: () => namePattern(hiddenFilesPattern, path.field("hiddenFilesPattern")),
    inputsReadOnly: () => inputsReadOnly(bbWorkerNfs4, path.field("bbWorkerNfs4")),
  });
  return { ...mountOf, ...others, shuffleDirectoryListings };
}

/** What both Go and JavaScript understand as a regular expression means the same to both; the rest is refused. */
function namePattern(pattern: string, path: FieldPath): string | undefined {
  try {
    new RegExp(pattern, "u");
  } catch (error) {
    throw new ConfigurationError(
      `${path} is ${JSON.stringify(pattern)}: give a regular expression of JavaScript's (${(error as Error).message})`,
    );
  }
  return pattern === "" ? undefined : pattern;
}

function inputsReadOnly(configuration: VirtualBuildDirectory | undefined, path: FieldPath): boolean {
  if (configuration === undefined) {
    return false;
  }
  const { inputsReadOnly, ...rest } = configuration;
  refuse(rest, path);
  return inputsReadOnly;
}
