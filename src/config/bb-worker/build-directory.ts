import { RE2JS } from "re2js";
import type { VirtualBuildDirectory } from "../../proto/gen/bb_worker_nfs4/bb_worker/bb_worker_pb.ts";
import type {
  BuildDirectoryConfiguration,
  VirtualBuildDirectoryConfiguration,
} from "../../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import { durationMilliseconds, positiveMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import { all, each, type FieldPath } from "../field-path.ts";
import { refuse } from "../refuse.ts";
import { nonEmpty } from "../values.ts";
import { type MountSettings, mountSettings } from "./mount.ts";
import { type NativeSettings, nativeSettings } from "./native.ts";
import { type RunnerSettings, runnerSettings } from "./runner.ts";

/** Where actions run, and the runners that see it. */
export type BuildDirectorySettings = VirtualBuildDirectorySettings | NativeBuildDirectorySettings;

/** A mount. */
export interface VirtualBuildDirectorySettings extends MountSettings {
  readonly backend: "virtual";
  /** Milliseconds. */
  readonly maximumExecutionTimeoutCompensation: number;
  /** Milliseconds that the kernel may take to write back what an action wrote. */
  readonly maximumWritableFileUploadDelay: number;
  /** Whether directories of input roots are listed in an order that chance decides. */
  readonly shuffleDirectoryListings: boolean;
  /** A regular expression of RE2's for names of what is not listed, unless it is a directory. */
  readonly hiddenFilesPattern: string | undefined;
  readonly inputsReadOnly: boolean;
  /** Milliseconds that hashing and uploading may take. */
  readonly maximumOutputUploadDuration: number;
  readonly runners: readonly RunnerSettings[];
}

/** A directory of a local disk, with a cache beside it. */
export interface NativeBuildDirectorySettings extends NativeSettings {
  readonly backend: "native";
  readonly runners: readonly RunnerSettings[];
}

const DEFAULT_UPLOAD_DELAY = 60_000;
export const DEFAULT_UPLOAD_DURATION = 15 * 60_000;

export function buildDirectorySettings(
  configuration: BuildDirectoryConfiguration,
  path: FieldPath,
): BuildDirectorySettings {
  const { backend, runners, ...rest } = configuration;
  refuse(rest, path);
  const runnersOf = (isNative: boolean) => () =>
    each(nonEmpty(runners, path.field("runners")), (runner, index) =>
      runnerSettings(runner, path.field("runners").index(index), isNative),
    );
  switch (backend.case) {
    case "virtual": {
      const { directory, ...others } = all({
        directory: () => virtualSettings(backend.value, path.field("virtual")),
        runners: runnersOf(false),
      });
      return { backend: "virtual", ...directory, ...others };
    }
    case "native": {
      const { directory, ...others } = all({
        directory: () => nativeSettings(backend.value, path.field("native")),
        runners: runnersOf(true),
      });
      return { backend: "native", ...directory, ...others };
    }
    case undefined:
      throw new ConfigurationError(
        `${path}.virtual is missing: give a mount, or native with two directories`,
      );
  }
}

function virtualSettings(
  configuration: VirtualBuildDirectoryConfiguration,
  path: FieldPath,
): Omit<VirtualBuildDirectorySettings, "backend" | "runners"> {
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
  const {
    mount: mountOf,
    own,
    ...others
  } = all({
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
    own: () => ownSettings(bbWorkerNfs4, path.field("bbWorkerNfs4")),
  });
  return { ...mountOf, ...own, ...others, shuffleDirectoryListings };
}

function namePattern(pattern: string, path: FieldPath): string | undefined {
  try {
    RE2JS.compile(pattern);
  } catch (error) {
    throw new ConfigurationError(
      `${path} is ${JSON.stringify(pattern)}: give a regular expression of RE2's (${(error as Error).message})`,
      { cause: error },
    );
  }
  return pattern === "" ? undefined : pattern;
}

function ownSettings(
  configuration: VirtualBuildDirectory | undefined,
  path: FieldPath,
): Pick<VirtualBuildDirectorySettings, "inputsReadOnly" | "maximumOutputUploadDuration"> {
  const defaults = { inputsReadOnly: false, maximumOutputUploadDuration: DEFAULT_UPLOAD_DURATION };
  if (configuration === undefined) {
    return defaults;
  }
  const { inputsReadOnly, maximumOutputUploadDuration: duration, ...rest } = configuration;
  refuse(rest, path);
  if (duration === undefined) {
    return { ...defaults, inputsReadOnly };
  }
  const field = path.field("maximumOutputUploadDuration");
  return { inputsReadOnly, maximumOutputUploadDuration: positiveMilliseconds(duration, field) };
}
