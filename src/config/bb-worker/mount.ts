import type { Duration } from "@bufbuild/protobuf/wkt";
import type {
  FUSEMountConfiguration,
  MountConfiguration,
  NFSv4LinuxMountConfiguration,
  NFSv4MountConfiguration,
} from "../../proto/gen/buildbarn/configuration/filesystem/virtual/virtual_pb.ts";
import { durationMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import { all, type FieldPath, unsupported } from "../field-path.ts";
import { accept, refuse } from "../refuse.ts";
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

export function mountSettings(configuration: MountConfiguration | undefined, path: FieldPath): MountSettings {
  if (configuration?.backend.case === undefined) {
    throw new ConfigurationError(`${path}.nfsv4 is missing: give {"linux": {}} for the defaults`);
  }
  const { mountPath, backend, ...rest } = configuration;
  refuse(rest, path);
  const { backend: mount, ...settings } = all({
    mountPath: () => absolutePath(mountPath, path.field("mountPath")),
    backend: () => {
      switch (backend.case) {
        case "nfsv4":
          return nfsv4Settings(backend.value, path.field("nfsv4"));
        case "fuse":
          path
            .field("fuse")
            .otherwise("the same tree is served by NFSv4 and mounted by the kernel's NFS client");
          return fuseSettings(backend.value, path.field("fuse"));
        case "winfsp":
          throw unsupported(path.field("winfsp"), 'the worker runs on Linux only; give nfsv4: {"linux": {}}');
      }
    },
  });
  return { ...settings, ...mount };
}

const DEFAULT_MOUNT: Omit<MountSettings, "mountPath"> = {
  nfsVersion: "4.2",
  mountOptions: [],
  announcedLeaseSeconds: DEFAULT_LEASE_MILLISECONDS / 1000,
  enforcedLeaseSeconds: DEFAULT_LEASE_MILLISECONDS / 1000,
};

const KERNEL_CACHES =
  "what the kernel remembers of a build directory stays right, so it may remember it for long";

/** Where FUSE is asked for, the same tree is mounted by NFSv4. */
function fuseSettings(
  configuration: FUSEMountConfiguration,
  path: FieldPath,
): Omit<MountSettings, "mountPath"> {
  refuse(
    accept(configuration, path, {
      directoryEntryValidity: KERNEL_CACHES,
      inodeAttributeValidity: KERNEL_CACHES,
      allowOther: "every user of the machine may use the mount, as permissions allow",
      mountMethod: "the worker calls mount(2) itself",
      maximumBackgroundTasks: "the NFS client's requests in flight are limited by the session's slots",
      linuxBackingDevInfoTunables: "read-ahead and write-back are as the NFS client sets them",
      inHeaderAuthenticationMetadataJmespathExpression:
        "nobody but the worker's own kernel is served, and access is decided by the permissions of files",
    }),
    path,
  );
  return DEFAULT_MOUNT;
}

function nfsv4Settings(
  configuration: NFSv4MountConfiguration,
  path: FieldPath,
): Omit<MountSettings, "mountPath"> {
  const { operatingSystem, announcedLeaseTime, enforcedLeaseTime, ...rest } = configuration;
  refuse(
    accept(rest, path, {
      systemAuthentication:
        "nobody but the worker's own kernel is served, and access is decided by the permissions of files",
    }),
    path,
  );
  if (operatingSystem.case === "darwin") {
    throw unsupported(path.field("darwin"), "the worker runs on Linux only; give linux");
  }
  const { linux, leases } = all({
    linux: () => linuxSettings(operatingSystem.value, path.field("linux")),
    leases: () => leaseTimes(announcedLeaseTime, enforcedLeaseTime, path),
  });
  return { ...linux, ...leases };
}

function leaseTimes(
  announcedLeaseTime: Duration | undefined,
  enforcedLeaseTime: Duration | undefined,
  path: FieldPath,
): Pick<MountSettings, "announcedLeaseSeconds" | "enforcedLeaseSeconds"> {
  const announced = leaseMilliseconds(
    durationMilliseconds(announcedLeaseTime, path.field("announcedLeaseTime"), DEFAULT_LEASE_MILLISECONDS),
    path.field("announcedLeaseTime"),
  );
  const enforced = leaseMilliseconds(
    durationMilliseconds(enforcedLeaseTime, path.field("enforcedLeaseTime"), announced),
    path.field("enforcedLeaseTime"),
  );
  if (enforced < announced) {
    throw new ConfigurationError(
      `${path}.enforcedLeaseTime is shorter than announcedLeaseTime: give twice as much, such as "120s"`,
    );
  }
  return { announcedLeaseSeconds: Math.floor(announced / 1000), enforcedLeaseSeconds: enforced / 1000 };
}

function leaseMilliseconds(milliseconds: number, path: FieldPath): number {
  if (milliseconds < 1000 || milliseconds > MAXIMUM_LEASE_MILLISECONDS) {
    throw new ConfigurationError(`${path} is ${milliseconds / 1000} s: give "1s" to "86400s"`);
  }
  return milliseconds;
}

/** The server needs the version apart from the other options. It needs sessions, which 4.0 does not have. */
function linuxSettings(
  configuration: NFSv4LinuxMountConfiguration | undefined,
  path: FieldPath,
): Pick<MountSettings, "nfsVersion" | "mountOptions"> {
  if (configuration === undefined) {
    return { nfsVersion: "4.2", mountOptions: [] };
  }
  const { mountOptions, ...rest } = configuration;
  refuse(rest, path);
  const isVersion = (option: string): boolean => /^(nfs)?vers=/.test(option);
  const version = mountOptions.findLast(isVersion)?.split("=")[1] ?? "4.2";
  if (version !== "4.1" && version !== "4.2") {
    throw unsupported(
      `${path}.mountOptions vers=${version}`,
      "the gate that lets nobody but this kernel in needs sessions, which only 4.1 and later have; " +
        "give vers=4.1 or vers=4.2",
    );
  }
  return { nfsVersion: version, mountOptions: mountOptions.filter((option) => !isVersion(option)) };
}
