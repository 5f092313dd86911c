import { MountError } from "./mount-helper.ts";

export type NfsVersion = "4.0" | "4.1" | "4.2";

/** Arguments for mount(2). */
export interface KernelMountOptions {
  /** The MS_… flags of mount(2). */
  readonly flags: number;
  /** The options of nfs(5), separated by commas. */
  readonly data: string;
}

/** Options that mount(8) turns into flags: which of <sys/mount.h> to set and which to clear. */
const FLAG_OPTIONS: Readonly<Record<string, readonly [set: number, clear: number]>> = {
  ro: [1, 0],
  rw: [0, 1],
  nosuid: [2, 0],
  suid: [0, 2],
  nodev: [4, 0],
  dev: [0, 4],
  noexec: [8, 0],
  exec: [0, 8],
  sync: [16, 0],
  async: [0, 16],
  noatime: [1024, 0],
  atime: [0, 1024],
  nodiratime: [2048, 0],
};

const MS_NOSUID = 2;
/** With it, stat(2) does not ask the server for a file's attributes again just because the file has been read. */
const MS_NOATIME = 1024;

/** Options that only the server's process can know, or that would make the mount unusable. */
const RESERVED_OPTIONS = [
  "addr",
  "clientaddr",
  "port",
  "vers",
  "nfsvers",
  "minorversion",
  "proto",
  "noresvport",
  "soft",
  "softerr",
];

/**
 * The options for mounting a server on this machine: ours, then the operator's, as the kernel lets the last one win.
 * `mountOptions` are options of nfs(5) and flags of mount(8), one or several, separated by commas, in each string.
 *
 * Throws a {@link MountError} for an option that the operator cannot set.
 */
export function nfsMountOptions(
  port: number,
  version: NfsVersion,
  mountOptions: readonly string[] = [],
): KernelMountOptions {
  const options = [
    `vers=${version}`,
    "proto=tcp",
    `port=${port}`,
    "addr=127.0.0.1",
    "clientaddr=127.0.0.1",
    "sec=sys",
    // A read may have to wait for the CAS, however long; it must not fail.
    "hard",
    "rsize=1048576",
    "wsize=1048576",
    // Only this kernel and this process change files, and the process none that the kernel may have cached.
    "acregmin=3600",
    "acregmax=3600",
    "acdirmin=3600",
    "acdirmax=3600",
    "nocto",
    // A worker's mounts must not take over each other's options.
    "nosharecache",
  ];
  let flags = MS_NOSUID | MS_NOATIME;
  for (const option of mountOptions.flatMap((given) => given.split(","))) {
    const name = option.split("=", 1)[0] ?? "";
    const flag = FLAG_OPTIONS[option];
    if (name === "") {
      continue;
    }
    if (RESERVED_OPTIONS.includes(name)) {
      throw new MountError(`mountOptions: "${option}" is reserved for the worker: remove it`, "EINVAL");
    }
    if (flag) {
      flags = (flags | flag[0]) & ~flag[1];
    } else {
      options.push(option);
    }
  }
  return { flags, data: options.join(",") };
}

/** What a failed mount(2) of an NFS server means, and what to do about it. */
export function describeMountFailure(code: string, mountPath: string, data: string): string {
  const meaning = MEANINGS[code] ?? "see the kernel's log (dmesg)";
  return `cannot mount ${mountPath}: ${code}: ${meaning} (options: ${data})`;
}

const MEANINGS: Readonly<Record<string, string>> = {
  EPERM: "mounting needs root with CAP_SYS_ADMIN (in a container: privileged)",
  ENODEV:
    "the kernel has no NFS client; on the host, `modprobe nfsv4` loads it (package linux-modules-extra on some clouds)",
  EPROTONOSUPPORT: "the kernel's NFS client lacks this NFS version, or its module nfsv4",
  EINVAL: "the kernel refuses an option; look at mountOptions",
  ECONNREFUSED: "nothing listens at the server's port on 127.0.0.1",
  ETIMEDOUT: "the server did not answer",
  EACCES: "the server refused",
  ENOENT: "the server does not have the directory, or the mount point was removed meanwhile",
  EBUSY: "the mount point is in use",
  EIO: "the server broke the protocol; see its log and the kernel's (dmesg)",
};
