import { CAPABILITIES, type Capability } from "../../config/bb-runner/confinement.ts";
import { list } from "../../native/message.ts";
import type { Command, CommandResult, Hold, KeptDirectory, ResourceUsage } from "./command.ts";
import { HelperProcess } from "./helper-process.ts";

/** RLIM_INFINITY. */
const UNLIMITED = 2n ** 64n - 1n;

const DEFAULT_KILL_MILLISECONDS = 20_000;

/**
 * Starts commands, and does what may wait for a file system for ever, through one `native/bb_spawn.c`, which is started
 * when it is first needed, and again if it has been killed. It has the umask, the limits and the user that this process
 * has by then. Whoever makes one closes it.
 */
export class Spawner implements AsyncDisposable {
  #helper: HelperProcess | undefined;

  /** Of the helper; undefined while there is none. */
  get processId(): number | undefined {
    return this.#helper?.processId;
  }

  /**
   * Runs a command to its end, or until the signal aborts, and returns when no process of it is left; after the signal,
   * those that cannot be killed for `killMilliseconds` (default 20,000) are left to themselves. When this process dies,
   * the command does, too.
   *
   * Throws a {@link HelperError} if the command could not be started, a RangeError if a string contains NUL, and the
   * signal's reason if that was aborted before the command was begun.
   */
  async run(
    command: Command,
    signal?: AbortSignal,
    killMilliseconds = DEFAULT_KILL_MILLISECONDS,
  ): Promise<CommandResult> {
    const { credentials } = command;
    const request = [
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
    ];
    const [exitCode, killedBy, ...usage] = await this.#ask(request, signal, killMilliseconds);
    return { exitCode: Number(exitCode), signal: Number(killedBy), usage: resourceUsage(usage) };
  }

  /**
   * What of this cannot be had here, in sentences. Throws a {@link HelperError} if commands cannot be held so at all;
   * isolation needs CAP_SYS_ADMIN, as root outside of a container has.
   */
  probe(hold: Hold): Promise<string[]> {
    return this.#ask(["probe", ...encodeHold(hold)], undefined);
  }

  /**
   * Whether all these paths exist: one in the build directory, and absolute ones. Asked in a process that can be
   * killed, since a file server may never answer; the signal does that.
   *
   * Throws a {@link HelperError} naming the first that does not exist, and the signal's reason.
   */
  async checkPaths(
    buildDirectory: string,
    path: string,
    absolutePaths: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    await this.#ask(["check", buildDirectory, path, ...list(absolutePaths)], signal);
    signal.throwIfAborted();
  }

  /**
   * Removes everything in a directory, whose path must have no symlink in it, in a process that can be killed, which the
   * signal does. What commands leave there to stay goes as well, as far as this user may: modes that forbid it, immutable
   * files, mounts, trees of any depth.
   *
   * Throws a {@link HelperError} naming the first entry that is left, and the signal's reason.
   */
  async emptyDirectory(path: string, signal: AbortSignal): Promise<void> {
    await this.#ask(["empty", path], signal);
    signal.throwIfAborted();
  }

  /**
   * {@link emptyDirectory}, after making the directory what it was: a command may have removed it, put a file or a
   * symlink in its place, or changed its mode.
   */
  async cleanDirectory(directory: KeptDirectory, signal: AbortSignal): Promise<void> {
    const { path, mode, userId, groupId } = directory;
    await this.#ask(["clean", path, mode, userId, groupId], signal);
    signal.throwIfAborted();
  }

  /** Ends what is still being done. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#helper?.close();
  }

  #ask(
    request: readonly (string | number)[],
    signal: AbortSignal | undefined,
    killMilliseconds = DEFAULT_KILL_MILLISECONDS,
  ): Promise<string[]> {
    if (this.#helper === undefined || this.#helper.hasEnded) {
      this.#helper = new HelperProcess();
    }
    return this.#helper.ask(request, signal, killMilliseconds);
  }
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
