import { create } from "@bufbuild/protobuf";
import {
  type Configuration,
  ConfigurationSchema,
} from "../../proto/gen/bb_worker_nfs4/bb_runner/bb_runner_pb.ts";
import { ConfigurationError } from "../error.ts";
import { all, each, type FieldPath } from "../field-path.ts";
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

/** Of cgroups(7). */
const MAXIMUM_CPU_WEIGHT = 10_000;

/** Throws {@link ConfigurationError}. */
export function confinementSettings(
  configuration: Configuration = create(ConfigurationSchema),
  path: FieldPath,
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
  const capabilities = Object.keys(CAPABILITIES) as Capability[];
  return all({
    additionalCapabilities: () =>
      known(additionalCapabilities, capabilities, path.field("additionalCapabilities")),
    additionalSystemCalls: () =>
      known(additionalSystemCalls, SYSTEM_CALLS, path.field("additionalSystemCalls")),
    additionalDevices: () =>
      each(additionalDevices, (device, index) =>
        devicePath(device, path.field("additionalDevices").index(index)),
      ),
    writablePaths: () => absolutePaths(writablePaths, path.field("writablePaths")),
    hiddenPaths: () => absolutePaths(hiddenPaths, path.field("hiddenPaths")),
    allowNewPrivileges: () => allowNewPrivileges,
    ownNetwork: () => ownNetwork,
    hostName: () => (hostName === "" ? undefined : checkedHostName(hostName, path.field("hostName"))),
    mountProc: () => mountProc,
    maximumProcesses: () => maximumProcesses || DEFAULT_MAXIMUM_PROCESSES,
    maximumMemoryBytes: () => optional(maximumMemoryBytes, path.field("maximumMemoryBytes")),
    cpuWeight: () => checkedWeight(cpuWeight, path.field("cpuWeight")),
  });
}

function checkedWeight(weight: number, path: FieldPath): number | undefined {
  if (weight > MAXIMUM_CPU_WEIGHT) {
    throw new ConfigurationError(`${path} is ${weight}: give at most ${MAXIMUM_CPU_WEIGHT}`);
  }
  return optional(weight, path);
}

function known<Name extends string>(
  names: readonly string[],
  choices: readonly Name[],
  path: FieldPath,
): readonly Name[] {
  return each(names, (name, index) => {
    const found = choices.find((choice) => choice === name);
    if (found === undefined) {
      throw new ConfigurationError(
        `${path.index(index)} is ${JSON.stringify(name)}: give one of ${choices.join(", ")}`,
      );
    }
    return found;
  });
}

function devicePath(device: string, path: FieldPath): string {
  const isBelow = /^\/dev(\/[^/]+)+$/.test(absolutePath(device, path));
  if (!isBelow || device.split("/").some((name) => name === "." || name === "..")) {
    throw new ConfigurationError(`${path} is ${JSON.stringify(device)}: give a path below /dev`);
  }
  return device;
}

function checkedHostName(name: string, path: FieldPath): string {
  if (!/^[\w.-]+$/.test(name) || name.length > MAXIMUM_HOST_NAME_BYTES) {
    throw new ConfigurationError(
      `${path} is ${JSON.stringify(name)}: give at most ${MAXIMUM_HOST_NAME_BYTES} letters, digits, "-", "_" and "."`,
    );
  }
  return name;
}
