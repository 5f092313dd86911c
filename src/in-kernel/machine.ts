import { type ChildProcess, spawn } from "node:child_process";
import type { Job } from "./job.ts";

/** How to boot a kernel whose first process is `init.sh`, on this machine's tree. */
export interface Machine {
  /** As `IN_KERNEL` says it inside. */
  readonly kind: "uml" | "qemu";
  readonly name: string;
  /** How long its boot may take, on a machine that is busy. */
  readonly bootSeconds: number;
  /** How long it may take, after a time-out, to describe what hangs. */
  readonly graceSeconds: number;
  /** Throws an Error that says what is missing and how to install it. */
  boot(job: BootJob): ChildProcess;
}

export interface BootJob extends Job {
  /** Such as "512M" or "3G". */
  readonly memory: string;
  /** Whether the command gets this process's terminal. */
  readonly tty: boolean;
}

/** The descriptors of a machine's process. The first three are those that every process has. */
export const DESCRIPTORS = {
  /** What the kernel logs, for the machine to write to. */
  log: 1,
  stdout: 3,
  stderr: 4,
  /** What became of the command. */
  control: 5,
  /** For a machine that gives the command a terminal. */
  terminal: 6,
  /** Reaches its end when this process is gone, however it ended. */
  life: 7,
} as const;

/** What `init.sh` finds in its environment. */
export interface InitVariables {
  readonly machine: "uml" | "qemu";
  /** The devices of stdout, stderr and control are this, and 1, 2 and 3. */
  readonly lines: string;
  /** The device of the terminal. */
  readonly terminal: string;
  /** A folder with a folder of modules for each version. */
  readonly modules: string;
  /** The job's folder. */
  readonly job: string;
}

/** For the kernel's command line: it passes on what it does not know. */
export function initParameters(variables: InitVariables): string[] {
  return Object.entries(variables).map(([name, value]) => `${name}=${value}`);
}

/**
 * Starts a shell script, with `$@` its arguments, as the leader of a process group that does not outlive this process.
 * The script must `exec` the machine.
 */
export function startMachine(
  script: string,
  args: readonly string[],
  tty: boolean,
  variables: NodeJS.ProcessEnv = {},
): ChildProcess {
  const { life } = DESCRIPTORS;
  return spawn(
    "sh",
    ["-c", `(cat <&${life} >/dev/null; kill -KILL 0) & exec ${life}<&-\n${script}`, "sh", ...args],
    {
      detached: true,
      env: { PATH: process.env.PATH, ...variables },
      stdio: ["ignore", "pipe", "pipe", "pipe", "pipe", "pipe", tty ? 0 : "ignore", "pipe"],
    },
  );
}

/** A size such as "512M" or "4G". */
export function bytesOf(memory: string): number {
  return Number.parseInt(memory, 10) * (memory.endsWith("G") ? 2 ** 30 : 2 ** 20);
}
