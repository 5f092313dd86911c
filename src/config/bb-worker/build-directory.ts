import type {
  BuildDirectoryConfiguration,
  VirtualBuildDirectoryConfiguration,
} from "../../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import { durationMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import { refuse, unsupported } from "../refuse.ts";
import { nonEmpty } from "../values.ts";
import { type MountSettings, mountSettings } from "./mount.ts";
import { type RunnerSettings, runnerSettings } from "./runner.ts";

/** A mount, and the runners that see it. */
export interface BuildDirectorySettings extends MountSettings {
  /** Milliseconds. */
  readonly maximumExecutionTimeoutCompensation: number;
  /** Milliseconds that the kernel may take to write back what an action wrote. */
  readonly maximumWritableFileUploadDelay: number;
  readonly runners: readonly RunnerSettings[];
}

const DEFAULT_UPLOAD_DELAY = 60_000;

export function buildDirectorySettings(
  configuration: BuildDirectoryConfiguration,
  path: string,
): BuildDirectorySettings {
  const { backend, runners, ...rest } = configuration;
  refuse(rest, path);
  switch (backend.case) {
    case "virtual":
      return {
        ...virtualSettings(backend.value, `${path}.virtual`),
        runners: nonEmpty(runners, `${path}.runners`).map((runner, index) =>
          runnerSettings(runner, `${path}.runners[${index}]`),
        ),
      };
    case "native":
      throw unsupported(
        `${path}.native`,
        "input roots are always served by NFSv4; give virtual.mount.nfsv4, or use Buildbarn's own worker",
      );
    case undefined:
      throw new ConfigurationError(`${path}.virtual is missing: give a mount`);
  }
}

function virtualSettings(
  configuration: VirtualBuildDirectoryConfiguration,
  path: string,
): Omit<BuildDirectorySettings, "runners"> {
  const { mount, maximumExecutionTimeoutCompensation, maximumWritableFileUploadDelay, ...rest } =
    configuration;
  refuse(rest, path, {
    shuffleDirectoryListings: "directories are always listed in the same order; remove it",
    hiddenFilesPattern: "every file is listed; remove it (NFSv4.1 and later leave no .nfs* files)",
    caseInsensitive: "case always matters; remove it",
  });
  return {
    ...mountSettings(mount, `${path}.mount`),
    maximumExecutionTimeoutCompensation: durationMilliseconds(
      maximumExecutionTimeoutCompensation,
      `${path}.maximumExecutionTimeoutCompensation`,
      0,
    ),
    maximumWritableFileUploadDelay: durationMilliseconds(
      maximumWritableFileUploadDelay,
      `${path}.maximumWritableFileUploadDelay`,
      DEFAULT_UPLOAD_DELAY,
    ),
  };
}
