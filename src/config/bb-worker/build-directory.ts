import type { VirtualBuildDirectoryConfiguration as OurConfiguration } from "../../proto/gen/bb_worker_nfs4/bb_worker/bb_worker_pb.ts";
import type {
  BuildDirectoryConfiguration,
  VirtualBuildDirectoryConfiguration,
} from "../../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import { durationMilliseconds, positiveMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import { all, each, type FieldPath, unsupported } from "../field-path.ts";
import { accept, refuse } from "../refuse.ts";
import { nonEmpty } from "../values.ts";
import { type MountSettings, mountSettings } from "./mount.ts";
import { type RunnerSettings, runnerSettings } from "./runner.ts";

/** A mount, and the runners that see it. */
export interface BuildDirectorySettings extends MountSettings {
  /** Milliseconds. */
  readonly maximumExecutionTimeoutCompensation: number;
  /** Milliseconds that the kernel may take to write back what an action wrote. */
  readonly maximumWritableFileUploadDelay: number;
  /** Milliseconds that hashing and uploading may take. */
  readonly maximumOutputUploadDuration: number;
  readonly runners: readonly RunnerSettings[];
}

const DEFAULT_UPLOAD_DELAY = 60_000;
const DEFAULT_UPLOAD_DURATION = 15 * 60_000;

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
    bbWorkerNfs4,
    ...rest
  } = configuration;
  const others = accept(rest, path, {
    shuffleDirectoryListings: "directories are always listed in the same order",
  });
  refuse(others, path, {
    hiddenFilesPattern: "every file is listed; remove it (NFSv4.1 and later leave no .nfs* files)",
    caseInsensitive: "case always matters; remove it",
  });
  const { mount: mountOf, ...times } = all({
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
    maximumOutputUploadDuration: () => outputUploadDuration(bbWorkerNfs4, path.field("bbWorkerNfs4")),
  });
  return { ...mountOf, ...times };
}

function outputUploadDuration(configuration: OurConfiguration | undefined, path: FieldPath): number {
  if (configuration?.maximumOutputUploadDuration === undefined) {
    return DEFAULT_UPLOAD_DURATION;
  }
  const { maximumOutputUploadDuration, ...rest } = configuration;
  refuse(rest, path);
  return positiveMilliseconds(maximumOutputUploadDuration, path.field("maximumOutputUploadDuration"));
}
