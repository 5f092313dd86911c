import { spawn } from "node:child_process";
import type { UnixCredentials } from "../config/bb-runner/application.ts";
import { CAPABILITIES, type Capability, type SystemCalls } from "../config/bb-runner/confinement.ts";
import type { ResourceLimit } from "../config/global/global.ts";
import { errnoName } from "../native/errno.ts";
import { helperPath } from "../native/helper.ts";
import { encodeMessage, list, MessageDecoder } from "../native/message.ts";

/** How commands are held: by `native/isolate.c` and `native/confine.c`, which say more. */
export interface Hold {
  /**
   * In a PID namespace, so that it can neither see nor end whoever runs it, and in a mount namespace of its own. Asked
   * of {@link probeHold} before; without it a command of the helper's own user can evade its end, and none of the
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

/**
 * Runs a command to its end, or until the signal aborts, and returns when no process of it is left; after the signal,
 * those that cannot be killed for `killMilliseconds` (default 20,000) are left to themselves. When this process dies,
 * the command does, too.
 *
 * Throws a {@link HelperError} if the command could not be started, a RangeError if a string contains NUL, and the
 * signal's reason if that was aborted before the command was begun.
 */
export async function runCommand(
  command: Command,
  signal?: AbortSignal,
  killMilliseconds = DEFAULT_KILL_MILLISECONDS,
): Promise<CommandResult> {
  const { credentials } = command;
  const request = encodeMessage([
    "run",
    ...encodeHold(command.hold),
    command.buildDirectory,
    command.inputRootDirectory,
    command.temporaryDirectory,
    command.workingDirectory,
    command.stdoutPath,
    command.stderrPath,
    command.cgroup ?? "",
    `${command.maximumProcessesOfUser ?? UNLIMITED}`,
    ...(credentials
      ? [1, credentials.userId, credentials.groupId, ...list(credentials.additionalGroupIds.map(String))]
      : [0]),
    command.limits.length,
    ...command.limits.flatMap(({ resource, soft, hard }) => [resource, `${soft}`, `${hard}`]),
    ...list(command.arguments),
    ...list(Object.entries(command.environment).map(([name, value]) => `${name}=${value}`)),
  ]);
  const [exitCode, killedBy, ...usage] = await askHelper(request, signal, killMilliseconds);
  return { exitCode: Number(exitCode), signal: Number(killedBy), usage: resourceUsage(usage) };
}

/**
 * What of this cannot be had here, in sentences. Throws a {@link HelperError} if commands cannot be held so at all;
 * isolation needs CAP_SYS_ADMIN, as root outside of a container has.
 */
export function probeHold(hold: Hold): Promise<string[]> {
  return askHelper(encodeMessage(["probe", ...encodeHold(hold)]), undefined);
}

function encodeHold(hold: Hold): (string | number)[] {
  return [
    hold.isolated ? 1 : 0,
    hold.chrootIntoInputRoot ? 1 : 0,
    hold.mountProc ? 1 : 0,
    hold.ownNetwork ? 1 : 0,
    hold.hostName ?? "",
    ...list(hold.writablePaths),
    ...list(hold.devices),
    ...list(hold.hiddenPaths),
    `${capabilityMask(hold.capabilities)}`,
    hold.newPrivileges ? 1 : 0,
    ...list(hold.systemCalls),
  ];
}

function capabilityMask(names: readonly Capability[]): bigint {
  return names.reduce((mask, name) => mask | (1n << BigInt(CAPABILITIES[name])), 0n);
}

/**
 * Whether all these paths exist: one in the build directory, and absolute ones. Asked in a process that can be
 * killed, since a file server may never answer; the signal does that.
 *
 * Throws a {@link HelperError} naming the first that does not exist, and the signal's reason.
 */
export async function checkPaths(
  buildDirectory: string,
  path: string,
  absolutePaths: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const request = encodeMessage(["check", buildDirectory, path, ...list(absolutePaths)]);
  await askHelper(request, signal);
  signal.throwIfAborted();
}

/**
 * Removes everything in a directory, whose path must have no symlink in it, in a process that can be killed, which the
 * signal does. What commands leave there to stay goes as well, as far as this user may: modes that forbid it, immutable
 * files, mounts, trees of any depth.
 *
 * Throws a {@link HelperError} naming the first entry that is left, and the signal's reason.
 */
export async function emptyDirectory(path: string, signal: AbortSignal): Promise<void> {
  await askHelper(encodeMessage(["empty", path]), signal);
  signal.throwIfAborted();
}

/** A directory as it was when nobody had done anything to it. Its path is absolute, without a symlink in it. */
export interface KeptDirectory {
  readonly path: string;
  /** Permission bits, set-user-id, set-group-id and sticky. */
  readonly mode: number;
  readonly userId: number;
  readonly groupId: number;
}

/**
 * {@link emptyDirectory}, after making the directory what it was: a command may have removed it, put a file or a symlink
 * in its place, or changed its mode.
 */
export async function cleanDirectory(directory: KeptDirectory, signal: AbortSignal): Promise<void> {
  const { path, mode, userId, groupId } = directory;
  await askHelper(encodeMessage(["clean", path, mode, userId, groupId]), signal);
  signal.throwIfAborted();
}

/** RLIM_INFINITY. */
const UNLIMITED = 2n ** 64n - 1n;

const DEFAULT_KILL_MILLISECONDS = 20_000;

/** Starts the helper with a request and returns its reply. Its input ends when the signal aborts. */
async function askHelper(
  request: Buffer,
  signal: AbortSignal | undefined,
  killMilliseconds = DEFAULT_KILL_MILLISECONDS,
): Promise<string[]> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<string[]>();
  // In no directory of an action, and with nothing of the runner's environment to hand on.
  const helper = spawn(helperPath("bb_spawn"), [], { stdio: ["pipe", "pipe", "inherit"], cwd: "/", env: {} });
  helper.once("error", reject);
  // It may have no pipes then.
  if (helper.pid === undefined) {
    return promise;
  }
  const decoder = new MessageDecoder();
  let reply: string[] | undefined;
  let malformed: Error | undefined;
  let patience: NodeJS.Timeout | undefined;
  const cancel = () => {
    helper.stdin.destroy();
    patience = setTimeout(() => {
      helper.kill("SIGKILL");
      // A child that cannot be killed, since it waits in the kernel, may keep it open.
      helper.stdout.destroy();
    }, killMilliseconds);
  };
  // That it is gone is seen when it closes.
  helper.stdin.on("error", () => {});
  helper.stdout.on("data", (chunk: Buffer) => {
    try {
      reply ??= decoder.push(chunk)[0];
    } catch (error) {
      malformed = error as Error;
      helper.kill("SIGKILL");
    }
  });
  helper.once("close", (code, killedBy) => {
    clearTimeout(patience);
    signal?.removeEventListener("abort", cancel);
    const [verb, ...rest] = reply ?? [];
    if (malformed) {
      return reject(malformed);
    }
    if (verb === "exited" || verb === "probed") {
      resolve(rest);
    } else if (verb === "failed") {
      reject(new HelperError(rest));
    } else if (signal?.aborted) {
      reject(signal.reason);
    } else {
      reject(new Error(`bb_spawn ended without a reply (${killedBy ?? `exit code ${code}`})`));
    }
  });
  helper.stdin.write(request);
  signal?.addEventListener("abort", cancel, { once: true });
  return promise;
}

function resourceUsage(numbers: readonly string[]): ResourceUsage {
  const at = (index: number) => BigInt(numbers[index] ?? 0);
  return {
    userMicroseconds: at(0),
    systemMicroseconds: at(1),
    maximumResidentSetKibibytes: at(2),
    pageReclaims: at(3),
    pageFaults: at(4),
    swaps: at(5),
    blockInputOperations: at(6),
    blockOutputOperations: at(7),
    messagesSent: at(8),
    messagesReceived: at(9),
    signalsReceived: at(10),
    voluntaryContextSwitches: at(11),
    involuntaryContextSwitches: at(12),
  };
}
