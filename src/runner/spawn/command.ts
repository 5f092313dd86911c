import type { UnixCredentials } from "../../config/bb-runner/application.ts";
import type { Capability, SystemCalls } from "../../config/bb-runner/confinement.ts";
import type { ResourceLimit } from "../../config/global/global.ts";
import { errnoName } from "../../native/errno.ts";

/** How commands are held: by `native/isolate.c` and `native/confine.c`, which say more. */
export interface Hold {
  /**
   * In a PID namespace, so that it can neither see nor end whoever runs it, and in a mount namespace of its own. Asked
   * of `Spawner.probe` before; without it a command of the helper's own user can evade its end, and none of the
   * fields up to `hiddenPaths` but `chrootIntoInputRoot` has an effect.
   */
  readonly isolated: boolean;
  readonly chrootIntoInputRoot: boolean;
  readonly mountProc: boolean;
  readonly ownNetwork: boolean;
  readonly hostName: string | undefined;
  /** Absolute; those that do not exist do not matter. The same goes for the next two. */
  readonly writablePaths: readonly string[];
  readonly devices: readonly string[];
  readonly hiddenPaths: readonly string[];
  /** All that a command of root, and set-user-ID programs, have. */
  readonly capabilities: readonly Capability[];
  readonly systemCalls: readonly SystemCalls[];
  readonly newPrivileges: boolean;
}

/** A command to run. Paths are relative to the build directory. */
export interface Command {
  readonly hold: Hold;
  /** Absolute. */
  readonly buildDirectory: string;
  readonly inputRootDirectory: string;
  /** Empty for none. Of the build directory, a command sees the input root and this, or what they lie in. */
  readonly temporaryDirectory: string;
  /** Relative to the input root. */
  readonly workingDirectory: string;
  /** Created; must not exist. */
  readonly stdoutPath: string;
  readonly stderrPath: string;
  /** Absolute; absent for the helper's own. */
  readonly cgroup: string | undefined;
  readonly credentials: UnixCredentials | undefined;
  readonly limits: readonly ResourceLimit[];
  /** Of its user at a time, whoever started them; does not bind root. Absent: as many as this process may have. */
  readonly maximumProcessesOfUser: number | undefined;
  /** The first is looked up in the environment's PATH if it has no slash. */
  readonly arguments: readonly string[];
  /** All of it: the command inherits nothing. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface CommandResult {
  /** -1 if a signal ended it. */
  readonly exitCode: number;
  /** 0 if it exited. */
  readonly signal: number;
  readonly usage: ResourceUsage;
}

/** struct rusage of the command and the processes it has waited for. */
export interface ResourceUsage {
  readonly userMicroseconds: bigint;
  readonly systemMicroseconds: bigint;
  readonly maximumResidentSetKibibytes: bigint;
  readonly pageReclaims: bigint;
  readonly pageFaults: bigint;
  readonly swaps: bigint;
  readonly blockInputOperations: bigint;
  readonly blockOutputOperations: bigint;
  readonly messagesSent: bigint;
  readonly messagesReceived: bigint;
  readonly signalsReceived: bigint;
  readonly voluntaryContextSwitches: bigint;
  readonly involuntaryContextSwitches: bigint;
}

/** What the helper was doing when it failed. */
export type Stage =
  | "build_directory"
  | "input_root_directory"
  | "stdout_path"
  | "stderr_path"
  | "working_directory"
  | "isolation"
  | "chroot"
  | "confinement"
  | "credentials"
  | "limits"
  | "cgroup"
  /** No directory of PATH has the command. */
  | "search"
  | "exec"
  /** The command exists, but not the interpreter or dynamic loader that it names. */
  | "interpreter"
  | "readiness_path"
  | "path"
  /** A directory could not be made what it was. */
  | "clean"
  /** A directory is not empty yet. */
  | "empty"
  /** Somebody, or a lack of memory, killed a process of the helper itself: how the command ended is not known. */
  | "helper";

/** A directory as it was when nobody had done anything to it. Its path is absolute, without a symlink in it. */
export interface KeptDirectory {
  readonly path: string;
  /** Permission bits, set-user-id, set-group-id and sticky. */
  readonly mode: number;
  readonly userId: number;
  readonly groupId: number;
}

/** Why a command was not started, a path does not exist, or cannot be removed. */
export class HelperError extends Error {
  override readonly name = "HelperError";
  readonly stage: Stage;
  /** Such as "ENOENT". */
  readonly code: string;
  /** strerror(3) of it. */
  readonly reason: string;
  /** What it failed on, mostly a path. */
  readonly subject: string;
  /** PATH, for the stage "search". */
  readonly searchPath: string;

  constructor([stage = "", errno = "", reason = "", subject = "", searchPath = ""]: readonly string[]) {
    super(`${stage} ${JSON.stringify(subject)}: ${reason}`);
    this.stage = stage as Stage;
    this.code = errnoName(Number(errno));
    this.reason = reason;
    this.subject = subject;
    this.searchPath = searchPath;
  }
}
