import { constants } from "node:os";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { BbRunnerSettings } from "../config/bb-runner/application.ts";
import type { IncomingCall } from "../grpc/incoming-call.ts";
import { packAny, StatusError, status } from "../grpc/status.ts";
import { CgroupResourceUsageSchema } from "../proto/gen/bb_worker_nfs4/bb_runner/bb_runner_pb.ts";
import { POSIXResourceUsageSchema } from "../proto/gen/buildbarn/resourceusage/resourceusage_pb.ts";
import type { RunRequest, RunResponseSchema } from "../proto/gen/buildbarn/runner/runner_pb.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import { absentCommand } from "./absent-command.ts";
import type { Cgroups } from "./cgroups.ts";
import { holdOf } from "./hold.ts";
import { cleanerOf, IdleCleaner } from "./idle-cleaner.ts";
import { relativePath } from "./relative-path.ts";
import { type CommandResult, HelperError, type Hold } from "./spawn/command.ts";
import type { Spawner } from "./spawn/spawner.ts";
import type { TemporaryDirectoryInstaller } from "./temporary-directory-installer.ts";
import { TemporaryLinks } from "./temporary-links.ts";

export interface RunnerOptions {
  /** Default: as the settings want, without namespaces. */
  readonly hold?: Hold;
  /** Default: commands have the limits that need none. */
  readonly cgroups?: Cgroups | undefined;
  /** Told of each command's temporary directory before the command runs. */
  readonly temporaryDirectoryInstaller?: TemporaryDirectoryInstaller | undefined;
  /** How long a file system may take to say whether a path exists. Default 10,000. */
  readonly readinessMilliseconds?: number;
  /** Aborted when cleaning is to be given up. */
  readonly cleaningSignal?: AbortSignal;
}

/** What buildbarn.runner.Runner promises, without gRPC around it. */
export class Runner {
  readonly #settings: BbRunnerSettings;
  readonly #spawner: Spawner;
  readonly #hold: Hold;
  readonly #cgroups: Cgroups | undefined;
  readonly #readinessMilliseconds: number;
  readonly #cleaner: IdleCleaner | undefined;
  readonly #temporaryLinks: TemporaryLinks;
  readonly #temporaryDirectoryInstaller: TemporaryDirectoryInstaller | undefined;
  #running = 0;

  constructor(
    settings: BbRunnerSettings,
    spawner: Spawner,
    {
      hold = holdOf(settings, false),
      cgroups,
      temporaryDirectoryInstaller,
      readinessMilliseconds = 10_000,
      cleaningSignal = new AbortController().signal,
    }: RunnerOptions = {},
  ) {
    this.#settings = settings;
    this.#spawner = spawner;
    this.#hold = hold;
    this.#cgroups = cgroups;
    this.#readinessMilliseconds = readinessMilliseconds;
    this.#temporaryLinks = new TemporaryLinks(settings.symlinkTemporaryDirectories, spawner);
    this.#temporaryDirectoryInstaller = temporaryDirectoryInstaller;
    const cleans =
      settings.cleanProcessTable ||
      settings.cleanTemporaryDirectories.length > 0 ||
      settings.runCommandCleaner.length > 0;
    if (cleans) {
      this.#cleaner = new IdleCleaner(cleanerOf(settings, spawner, cleaningSignal));
    }
  }

  /**
   * Whether commands can be run: the path exists in the build directory as this process sees it, and so do the
   * paths the configuration names. Throws a StatusError that says what is missing.
   */
  checkReadiness(path: string, signal: AbortSignal, incoming?: IncomingCall): Promise<void> {
    const normal = relativePath("path", path);
    return this.#clean(async () => {
      await this.#temporaryDirectoryInstaller?.checkReadiness(signal, this.#readinessMilliseconds, incoming);
      await this.#linkTemporaryDirectories("/nonexistent", () => this.#running === 0);
      await this.#checkPaths(normal, signal);
    });
  }

  /**
   * Runs a command to its end; an exit code that is not 0 is no error. When the signal aborts, every process of the
   * command is killed before this returns. Throws a StatusError: INVALID_ARGUMENT for a command that cannot be
   * executed, unless it is chrooted: that exits with 127 or 126, as in Buildbarn. `incoming` is the call this is for.
   */
  run(
    request: RunRequest,
    signal: AbortSignal,
    incoming?: IncomingCall,
  ): Promise<MessageInitShape<typeof RunResponseSchema>> {
    checkRequest(request);
    return this.#clean(async () => {
      this.#running++;
      try {
        const { result, memoryPeak } = await this.#runLimited(request, signal, incoming);
        if (result.exitCode !== 0 && this.#settings.readinessCheckingPathnames.length > 0) {
          await this.#checkPaths(".", signal);
        }
        return response(result, memoryPeak);
      } finally {
        this.#running--;
      }
    });
  }

  async #runLimited(
    request: RunRequest,
    signal: AbortSignal,
    incoming: IncomingCall | undefined,
  ): Promise<{ result: CommandResult; memoryPeak?: bigint | undefined }> {
    if (!this.#cgroups) {
      return { result: await this.#run(request, signal, incoming, undefined) };
    }
    return this.#cgroups.use((cgroup) => this.#run(request, signal, incoming, cgroup));
  }

  async #run(
    request: RunRequest,
    signal: AbortSignal,
    incoming: IncomingCall | undefined,
    cgroup: string | undefined,
  ): Promise<CommandResult> {
    const {
      buildDirectoryPath,
      chrootIntoInputRoot,
      setTmpdirEnvironmentVariable,
      runCommandsAs,
      resourceLimits,
      confinement,
    } = this.#settings;
    const relativeTemporaryDirectory = relativePath("temporary_directory", request.temporaryDirectory);
    const temporaryDirectory = join(buildDirectoryPath, relativeTemporaryDirectory);
    await this.#temporaryDirectoryInstaller?.install(request.temporaryDirectory, signal, incoming);
    await this.#linkTemporaryDirectories(temporaryDirectory);
    const setTmpdir = setTmpdirEnvironmentVariable && request.temporaryDirectory !== "";
    try {
      return await this.#spawner.run(
        {
          buildDirectory: buildDirectoryPath,
          inputRootDirectory: relativePath("input_root_directory", request.inputRootDirectory),
          temporaryDirectory: request.temporaryDirectory === "" ? "" : relativeTemporaryDirectory,
          workingDirectory: request.workingDirectory,
          stdoutPath: relativePath("stdout_path", request.stdoutPath),
          stderrPath: relativePath("stderr_path", request.stderrPath),
          cgroup,
          hold: this.#hold,
          credentials: runCommandsAs,
          limits: resourceLimits,
          maximumProcessesOfUser: resourceLimits.some(({ resource }) => resource === RLIMIT_NPROC)
            ? undefined
            : confinement.maximumProcesses * COMMANDS_OF_A_USER,
          arguments: request.arguments,
          environment: {
            ...(setTmpdir && { TMPDIR: chrootIntoInputRoot ? CHROOTED_TMPDIR : temporaryDirectory }),
            ...request.environmentVariables,
          },
        },
        signal,
      );
    } catch (error) {
      if (error instanceof HelperError) {
        const stderr = join(buildDirectoryPath, relativePath("stderr_path", request.stderrPath));
        const result = chrootIntoInputRoot ? await absentCommand(error, stderr) : undefined;
        if (result === undefined) {
          throw new StatusError(this.#statusOf(error), { cause: error });
        }
        return result;
      }
      if (error instanceof StatusError || signal.aborted) {
        throw error;
      }
      throw new StatusError(status(Code.INTERNAL, (error as Error).message), { cause: error });
    }
  }

  #clean<T>(work: () => Promise<T>): Promise<T> {
    return this.#cleaner ? this.#cleaner.use(work) : work();
  }

  async #checkPaths(path: string, signal: AbortSignal): Promise<void> {
    const { buildDirectoryPath, readinessCheckingPathnames } = this.#settings;
    const patience = AbortSignal.timeout(this.#readinessMilliseconds);
    try {
      await this.#spawner.checkPaths(
        buildDirectoryPath,
        path,
        readinessCheckingPathnames,
        AbortSignal.any([signal, patience]),
      );
    } catch (error) {
      if (error instanceof HelperError) {
        throw new StatusError(this.#statusOf(error), { cause: error });
      }
      if (!patience.aborted || signal.aborted) {
        throw error;
      }
      const message =
        `no answer from the file system at ${join(buildDirectoryPath, path)} for ${this.#readinessMilliseconds / 1000} s: ` +
        "its server is gone or stuck; restart the worker, which removes dead mounts";
      throw new StatusError(status(Code.UNAVAILABLE, message), { cause: error });
    }
  }

  async #linkTemporaryDirectories(target: string, wanted?: () => boolean): Promise<void> {
    try {
      await this.#temporaryLinks.pointTo(target, wanted);
    } catch (error) {
      throw new StatusError(status(Code.INTERNAL, (error as Error).message), { cause: error });
    }
  }

  #statusOf(error: HelperError) {
    const { stage, subject, reason, code, searchPath } = error;
    const name = JSON.stringify(subject);
    switch (stage) {
      case "search":
        return status(
          Code.INVALID_ARGUMENT,
          `command ${name} was not found: no directory of PATH ${JSON.stringify(searchPath)} has it`,
        );
      case "interpreter":
        return status(
          Code.INVALID_ARGUMENT,
          `command ${name} exists, but the interpreter or dynamic loader it names does not`,
        );
      case "exec":
        return status(
          UNEXECUTABLE.includes(code) ? Code.INVALID_ARGUMENT : Code.INTERNAL,
          `command ${name} cannot be executed: ${reason}`,
        );
      case "working_directory":
        return status(
          UNEXECUTABLE.includes(code) ? Code.INVALID_ARGUMENT : Code.INTERNAL,
          `working directory ${name} cannot be entered: ${reason}`,
        );
      case "build_directory":
        return status(
          Code.INTERNAL,
          `buildDirectoryPath ${name}: ${reason}. Set it to where this runner sees the worker's mount path, and mount ` +
            "the volume that they share there",
        );
      case "input_root_directory":
      case "path":
        return status(
          Code.INTERNAL,
          `${name} is not there in the build directory ${this.#settings.buildDirectoryPath} as this runner sees it ` +
            `(${reason}). If the worker does see it, its mount is not propagated: the volume they share must be ` +
            'mounted "shared" (Bidirectional) in the worker\'s container and "slave" (HostToContainer) in the runner\'s',
        );
      case "readiness_path":
        return status(Code.UNAVAILABLE, `readinessCheckingPathnames: ${name}: ${reason}`);
      case "chroot":
      case "credentials":
        return status(
          Code.FAILED_PRECONDITION,
          `${stage === "chroot" ? "chrootIntoInputRoot" : "runCommandsAs"}: ${reason}; the runner must be root`,
        );
      case "helper":
        return status(Code.INTERNAL, "a process of bb_spawn was killed: how the command ended is not known");
      default:
        return status(Code.INTERNAL, `cannot start the command: ${error.message}`);
    }
  }
}

/**
 * The worker's temporary directory lies outside the input root, where a chrooted command cannot have it. What the command
 * writes below this one is the action's alone all the same, is charged to it and goes with it.
 */
const CHROOTED_TMPDIR = "/tmp";

/** Of <sys/resource.h>. */
const RLIMIT_NPROC = 6;

/** The limit counts all processes of the user: those of so many commands that have as many as one may. */
const COMMANDS_OF_A_USER = 4;

/** What of execve(2) and chdir(2) is the fault of the action, not of this machine. */
const UNEXECUTABLE = [
  "ENOENT",
  "EACCES",
  "EPERM",
  "ENOEXEC",
  "EISDIR",
  "ENOTDIR",
  "ELOOP",
  "ENAMETOOLONG",
  "E2BIG",
];

/** Throws a StatusError, INVALID_ARGUMENT, for what no process could be given. */
function checkRequest(request: RunRequest): void {
  const invalid = (message: string) => new StatusError(status(Code.INVALID_ARGUMENT, message));
  if (request.arguments.length === 0) {
    throw invalid("arguments: the command to run is missing");
  }
  relativePath("working_directory", request.workingDirectory);
  for (const argument of request.arguments) {
    if (argument.includes("\0")) {
      throw invalid("arguments: one contains a NUL byte");
    }
  }
  for (const [name, value] of Object.entries(request.environmentVariables)) {
    if (name === "" || name.includes("=") || `${name}${value}`.includes("\0")) {
      throw invalid(
        `environment_variables: ${JSON.stringify(name)} is no name, or has a value with a NUL byte in it`,
      );
    }
  }
}

function response(
  { exitCode, signal, usage }: CommandResult,
  memoryPeak: bigint | undefined,
): MessageInitShape<typeof RunResponseSchema> {
  const posix = packAny(POSIXResourceUsageSchema, {
    userTime: duration(usage.userMicroseconds),
    systemTime: duration(usage.systemMicroseconds),
    maximumResidentSetSize: usage.maximumResidentSetKibibytes * 1024n,
    pageReclaims: usage.pageReclaims,
    pageFaults: usage.pageFaults,
    swaps: usage.swaps,
    blockInputOperations: usage.blockInputOperations,
    blockOutputOperations: usage.blockOutputOperations,
    messagesSent: usage.messagesSent,
    messagesReceived: usage.messagesReceived,
    signalsReceived: usage.signalsReceived,
    voluntaryContextSwitches: usage.voluntaryContextSwitches,
    involuntaryContextSwitches: usage.involuntaryContextSwitches,
    terminationSignal: signalName(signal),
  });
  const cgroup =
    memoryPeak === undefined ? [] : [packAny(CgroupResourceUsageSchema, { memoryPeakBytes: memoryPeak })];
  return { exitCode: BigInt(exitCode), resourceUsage: [posix, ...cgroup] };
}

function duration(microseconds: bigint): { seconds: bigint; nanos: number } {
  return { seconds: microseconds / 1_000_000n, nanos: Number(microseconds % 1_000_000n) * 1000 };
}

/** "KILL" for 9; "" for 0 and for a signal without a name. */
function signalName(signal: number): string {
  const found = Object.entries(constants.signals).find(([, number]) => number === signal);
  return found?.[0].slice("SIG".length) ?? "";
}
