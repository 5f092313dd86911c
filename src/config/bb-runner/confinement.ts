import { create } from "@bufbuild/protobuf";
import {
  type Configuration,
  ConfigurationSchema,
} from "../../proto/gen/bb_worker_nfs4/bb_runner/bb_runner_pb.ts";
import { ConfigurationError } from "../error.ts";
import { refuse } from "../refuse.ts";
import { absolutePath, absolutePaths, optional } from "../values.ts";

/** Of capabilities(7), by their numbers in linux/capability.h. */
export const CAPABILITIES = {
  CHOWN: 0,
  DAC_OVERRIDE: 1,
  DAC_READ_SEARCH: 2,
  FOWNER: 3,
  FSETID: 4,
  KILL: 5,
  SETGID: 6,
  SETUID: 7,
  SETPCAP: 8,
  LINUX_IMMUTABLE: 9,
  NET_BIND_SERVICE: 10,
  NET_BROADCAST: 11,
  NET_ADMIN: 12,
  NET_RAW: 13,
  IPC_LOCK: 14,
  IPC_OWNER: 15,
  SYS_MODULE: 16,
  SYS_RAWIO: 17,
  SYS_CHROOT: 18,
  SYS_PTRACE: 19,
  SYS_PACCT: 20,
  SYS_ADMIN: 21,
  SYS_BOOT: 22,
  SYS_NICE: 23,
  SYS_RESOURCE: 24,
  SYS_TIME: 25,
  SYS_TTY_CONFIG: 26,
  MKNOD: 27,
  LEASE: 28,
  AUDIT_WRITE: 29,
  AUDIT_CONTROL: 30,
  SETFCAP: 31,
  MAC_OVERRIDE: 32,
  MAC_ADMIN: 33,
  SYSLOG: 34,
  WAKE_ALARM: 35,
  BLOCK_SUSPEND: 36,
  AUDIT_READ: 37,
  PERFMON: 38,
  BPF: 39,
  CHECKPOINT_RESTORE: 40,
} as const;

export type Capability = keyof typeof CAPABILITIES;

/** Groups of system calls, as `native/confine.c` names them. */
export const SYSTEM_CALLS = [
  "bpf",
  "clock",
  "foreignAbi",
  "hostName",
  "ioUring",
  "kernelLog",
  "kexec",
  "keys",
  "modules",
  "mount",
  "openByHandle",
  "perf",
  "setns",
  "userfaultfd",
  "userNamespaces",
  "vsock",
] as const;

export type SystemCalls = (typeof SYSTEM_CALLS)[number];

/** How commands are held; what is absent or empty is the safe choice. */
export interface ConfinementSettings {
  readonly additionalCapabilities: readonly Capability[];
  readonly additionalSystemCalls: readonly SystemCalls[];
  /** Absolute, below /dev. */
  readonly additionalDevices: readonly string[];
  /** Absolute. */
  readonly writablePaths: readonly string[];
  /** Absolute. */
  readonly hiddenPaths: readonly string[];
  readonly allowNewPrivileges: boolean;
  readonly ownNetwork: boolean;
  readonly hostName: string | undefined;
  readonly mountProc: boolean;
  readonly maximumProcesses: number;
  /** Absent means no limit. */
  readonly maximumMemoryBytes: number | undefined;
  /** Absent means the kernel's. */
  readonly cpuWeight: number | undefined;
}

/** More than the largest compilers need, and few enough for a machine to stay usable. */
const DEFAULT_MAXIMUM_PROCESSES = 4096;

/** The kernel's own; sethostname(2). */
const MAXIMUM_HOST_NAME_BYTES = 64;

/** Throws {@link ConfigurationError}. */
export function confinementSettings(
  configuration: Configuration = create(ConfigurationSchema),
  path: string,
): ConfinementSettings {
  const {
    additionalCapabilities,
    additionalSystemCalls,
    additionalDevices,
    writablePaths,
    hiddenPaths,
    allowNewPrivileges,
    ownNetwork,
    hostName,
    mountProc = true,
    maximumProcesses,
    maximumMemoryBytes,
    cpuWeight,
    ...rest
  } = configuration;
  refuse(rest, path);
  if (cpuWeight > 10_000) {
    throw new ConfigurationError(`${path}.cpuWeight is ${cpuWeight}: give at most 10000`);
  }
  return {
    additionalCapabilities: known(
      additionalCapabilities,
      Object.keys(CAPABILITIES) as Capability[],
      `${path}.additionalCapabilities`,
    ),
    additionalSystemCalls: known(additionalSystemCalls, SYSTEM_CALLS, `${path}.additionalSystemCalls`),
    additionalDevices: additionalDevices.map((device, index) =>
      devicePath(device, `${path}.additionalDevices[${index}]`),
    ),
    writablePaths: absolutePaths(writablePaths, `${path}.writablePaths`),
    hiddenPaths: absolutePaths(hiddenPaths, `${path}.hiddenPaths`),
    allowNewPrivileges,
    ownNetwork,
    hostName: hostName === "" ? undefined : checkedHostName(hostName, `${path}.hostName`),
    mountProc,
    maximumProcesses: maximumProcesses || DEFAULT_MAXIMUM_PROCESSES,
    maximumMemoryBytes: optional(maximumMemoryBytes, `${path}.maximumMemoryBytes`),
    cpuWeight: optional(cpuWeight, `${path}.cpuWeight`),
  };
}

function known<Name extends string>(names: readonly string[], all: readonly Name[], path: string): Name[] {
  return names.map((name, index) => {
    const found = all.find((one) => one === name);
    if (found === undefined) {
      throw new ConfigurationError(
        `${path}[${index}] is ${JSON.stringify(name)}: give one of ${all.join(", ")}`,
      );
    }
    return found;
  });
}

function devicePath(device: string, path: string): string {
  const isBelow = /^\/dev(\/[^/]+)+$/.test(absolutePath(device, path));
  if (!isBelow || device.split("/").some((name) => name === "." || name === "..")) {
    throw new ConfigurationError(`${path} is ${JSON.stringify(device)}: give a path below /dev`);
  }
  return device;
}

function checkedHostName(name: string, path: string): string {
  if (!/^[\w.-]+$/.test(name) || name.length > MAXIMUM_HOST_NAME_BYTES) {
    throw new ConfigurationError(
      `${path} is ${JSON.stringify(name)}: give at most ${MAXIMUM_HOST_NAME_BYTES} letters, digits, "-", "_" and "."`,
    );
  }
  return name;
}
