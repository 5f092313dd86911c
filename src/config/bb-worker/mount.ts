import type {
  MountConfiguration,
  NFSv4LinuxMountConfiguration,
  NFSv4MountConfiguration,
} from "../../proto/gen/buildbarn/configuration/filesystem/virtual/virtual_pb.ts";
import { durationMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import { refuse, unsupported } from "../refuse.ts";
import { absolutePath } from "../values.ts";

export interface MountSettings {
  readonly mountPath: string;
  readonly nfsVersion: "4.1" | "4.2";
  /** As nfs(5) spells them, without the version. */
  readonly mountOptions: readonly string[];
  /** What the attribute lease_time says; whole. */
  readonly announcedLeaseSeconds: number;
  /** Silence after which the kernel's state is dropped. */
  readonly enforcedLeaseSeconds: number;
}

const DEFAULT_LEASE_MILLISECONDS = 60_000;
const MAXIMUM_LEASE_MILLISECONDS = 24 * 60 * 60 * 1000;

export function mountSettings(configuration: MountConfiguration | undefined, path: string): MountSettings {
  if (configuration?.backend.case === undefined) {
    throw new ConfigurationError(`${path}.nfsv4 is missing: give {"linux": {}} for the defaults`);
  }
  const { mountPath, backend, ...rest } = configuration;
  refuse(rest, path);
  if (backend.case !== "nfsv4") {
    throw unsupported(`${path}.${backend.case}`, 'give nfsv4, with {"linux": {}} for the defaults');
  }
  return {
    mountPath: absolutePath(mountPath, `${path}.mountPath`),
    ...nfsv4Settings(backend.value, `${path}.nfsv4`),
  };
}

function nfsv4Settings(
  configuration: NFSv4MountConfiguration,
  path: string,
): Omit<MountSettings, "mountPath"> {
  const { operatingSystem, announcedLeaseTime, enforcedLeaseTime, ...rest } = configuration;
  refuse(rest, path, {
    systemAuthentication: "nobody but the worker's own kernel is served; remove it",
  });
  if (operatingSystem.case === "darwin") {
    throw unsupported(`${path}.darwin`, "the worker runs on Linux only; give linux");
  }
  const announced = leaseMilliseconds(
    durationMilliseconds(announcedLeaseTime, `${path}.announcedLeaseTime`, DEFAULT_LEASE_MILLISECONDS),
    `${path}.announcedLeaseTime`,
  );
  const enforced = leaseMilliseconds(
    durationMilliseconds(enforcedLeaseTime, `${path}.enforcedLeaseTime`, announced),
    `${path}.enforcedLeaseTime`,
  );
  if (enforced < announced) {
    throw new ConfigurationError(
      `${path}.enforcedLeaseTime is shorter than announcedLeaseTime: give twice as much, such as "120s"`,
    );
  }
  return {
    ...linuxSettings(operatingSystem.value, `${path}.linux`),
    announcedLeaseSeconds: Math.floor(announced / 1000),
    enforcedLeaseSeconds: enforced / 1000,
  };
}

function leaseMilliseconds(milliseconds: number, path: string): number {
  if (milliseconds < 1000 || milliseconds > MAXIMUM_LEASE_MILLISECONDS) {
    throw new ConfigurationError(`${path} is ${milliseconds / 1000} s: give "1s" to "86400s"`);
  }
  return milliseconds;
}

/** The server needs the version apart from the other options. It needs sessions, which 4.0 does not have. */
function linuxSettings(
  configuration: NFSv4LinuxMountConfiguration | undefined,
  path: string,
): Pick<MountSettings, "nfsVersion" | "mountOptions"> {
  if (configuration === undefined) {
    return { nfsVersion: "4.2", mountOptions: [] };
  }
  const { mountOptions, ...rest } = configuration;
  refuse(rest, path);
  const isVersion = (option: string): boolean => /^(nfs)?vers=/.test(option);
  const version = mountOptions.findLast(isVersion)?.split("=")[1] ?? "4.2";
  if (version !== "4.1" && version !== "4.2") {
    throw unsupported(`${path}.mountOptions vers=${version}`, "give vers=4.1 or vers=4.2");
  }
  return { nfsVersion: version, mountOptions: mountOptions.filter((option) => !isVersion(option)) };
}
