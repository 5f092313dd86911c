import { spawn } from "node:child_process";
import type { UnixCredentials } from "../config/bb-runner/application.ts";
import type { ResourceLimit } from "../config/global.ts";
import { errnoName } from "../native/errno.ts";
import { helperPath } from "../native/helper.ts";
import { encodeMessage, list, MessageDecoder } from "../native/message.ts";

/** A command to run. Paths are relative to the build directory. */
export interface Command {
  /** Absolute. */
  readonly buildDirectory: string;
  readonly inputRootDirectory: string;
  /** Relative to the input root. */
  readonly workingDirectory: string;
  /** Created; must not exist. */
  readonly stdoutPath: string;
  readonly stderrPath: string;
  /**
   * In a PID namespace, so that it can neither see nor end whoever runs it, and in a mount namespace of its own. Asked
   * of {@link isolationFailure} before; without it a command of the helper's own user can evade its end.
   */
  readonly isolated: boolean;
  /** Such a command also loses the capabilities and system calls that could change more than its root; `native/confine.c`. */
  readonly chrootIntoInputRoot: boolean;
  readonly credentials: UnixCredentials | undefined;
  readonly limits: readonly ResourceLimit[];
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
  /** No directory of PATH has the command. */
  | "search"
  | "exec"
  /** The command exists, but not the interpreter or dynamic loader that it names. */
  | "interpreter"
  | "readiness_path"
  | "path"
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
    command.buildDirectory,
    command.inputRootDirectory,
    command.workingDirectory,
    command.stdoutPath,
    command.stderrPath,
    command.isolated ? 1 : 0,
    command.chrootIntoInputRoot ? 1 : 0,
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

/** Why commands cannot be isolated; undefined if they can. It needs CAP_SYS_ADMIN, as root outside of a container has. */
export async function isolationFailure(): Promise<HelperError | undefined> {
  try {
    await askHelper(encodeMessage(["probe"]), undefined);
    return undefined;
  } catch (error) {
    if (error instanceof HelperError) {
      return error;
    }
    throw error;
  }
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
 * signal does. What commands leave there
 * to stay goes as well, as far as this user may: modes that forbid it, immutable files, mounts, trees of any depth.
 *
 * Throws a {@link HelperError} naming the first entry that is left, and the signal's reason.
 */
export async function emptyDirectory(path: string, signal: AbortSignal): Promise<void> {
  await askHelper(encodeMessage(["empty", path]), signal);
  signal.throwIfAborted();
}

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
    if (verb === "exited") {
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
