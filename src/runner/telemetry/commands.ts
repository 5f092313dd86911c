import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Any, anyUnpack, durationMs } from "@bufbuild/protobuf/wkt";
import { statusFromError } from "../../grpc/status.ts";
import { POSIXResourceUsageSchema } from "../../proto/gen/buildbarn/resourceusage/resourceusage_pb.ts";
import {
  type RunRequest,
  type RunResponse,
  RunResponseSchema,
} from "../../proto/gen/buildbarn/runner/runner_pb.ts";
import type { Log } from "../../telemetry/log.ts";

/** Commands that have ended and are remembered. */
const REMEMBERED = 50;

/** What a command took; milliseconds and bytes. */
export interface CommandUsage {
  readonly userMilliseconds: number;
  readonly systemMilliseconds: number;
  /** Of its largest process. */
  readonly residentBytes: number;
  /** The signal that ended it, without SIG; "" if none did. */
  readonly signal: string;
}

/** A command that runs or has run. Its strings are the action's: they may contain anything. */
export interface WatchedCommand {
  readonly arguments: readonly string[];
  /** Below the build directory. */
  readonly inputRoot: string;
  /** As of `performance.now()`. */
  readonly startedAt: number;
}

/** A command's end. */
export interface EndedCommand extends WatchedCommand {
  /** Milliseconds since the epoch. */
  readonly endedAt: number;
  readonly milliseconds: number;
  /** undefined if it could not be run. */
  readonly exitCode: number | undefined;
  /** Why it could not; "" if it could. */
  readonly problem: string;
  readonly usage: CommandUsage | undefined;
}

/** The commands that run, and those that ended last, for whoever wants to know. Each ends with a line in the log. */
export class Commands {
  readonly #log: Log;
  readonly #running = new Set<WatchedCommand>();
  readonly #ended: EndedCommand[] = [];

  constructor(log: Log) {
    this.#log = log;
  }

  /** In the order in which they began. */
  get running(): ReadonlySet<WatchedCommand> {
    return this.#running;
  }

  /** The last one first; at most {@link REMEMBERED}. */
  get ended(): readonly EndedCommand[] {
    return this.#ended;
  }

  /** Watches a command until its end; settles as `work` does. */
  async watch<Response extends MessageInitShape<typeof RunResponseSchema>>(
    { arguments: words, inputRootDirectory }: RunRequest,
    work: () => Promise<Response>,
  ): Promise<Response> {
    const command: WatchedCommand = {
      arguments: words,
      inputRoot: inputRootDirectory,
      startedAt: performance.now(),
    };
    this.#running.add(command);
    try {
      const response = await work();
      this.#end(command, create(RunResponseSchema, response), "");
      return response;
    } catch (error) {
      this.#end(command, undefined, statusFromError(error).message);
      throw error;
    }
  }

  #end(command: WatchedCommand, response: RunResponse | undefined, problem: string): void {
    this.#running.delete(command);
    const ended: EndedCommand = {
      ...command,
      endedAt: Date.now(),
      milliseconds: performance.now() - command.startedAt,
      exitCode: response && Number(response.exitCode),
      problem,
      usage: response && usageOf(response.resourceUsage),
    };
    this.#ended.unshift(ended);
    this.#ended.length = Math.min(this.#ended.length, REMEMBERED);
    if (ended.exitCode !== undefined) {
      this.#log.info("a command has ended", {
        inputRoot: ended.inputRoot,
        exitCode: ended.exitCode,
        runMilliseconds: Math.round(ended.milliseconds),
        ...ended.usage,
        signal: ended.usage?.signal || undefined,
      });
    }
  }
}

function usageOf(resourceUsage: readonly Any[]): CommandUsage | undefined {
  const posix = resourceUsage.map((any) => anyUnpack(any, POSIXResourceUsageSchema)).find((found) => found);
  return (
    posix && {
      userMilliseconds: posix.userTime ? durationMs(posix.userTime) : 0,
      systemMilliseconds: posix.systemTime ? durationMs(posix.systemTime) : 0,
      residentBytes: Number(posix.maximumResidentSetSize),
      signal: posix.terminationSignal,
    }
  );
}
