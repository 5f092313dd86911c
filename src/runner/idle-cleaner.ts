import { spawn } from "node:child_process";
import { once } from "node:events";
import { realpath, stat } from "node:fs/promises";
import type { BbRunnerSettings } from "../config/bb-runner/application.ts";
import { StatusError, status } from "../grpc/status.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import { killLaterProcesses } from "./process-table.ts";
import { HelperError, type KeptDirectory } from "./spawn/command.ts";
import type { Spawner } from "./spawn/spawner.ts";

/** Removes what commands have left on the machine. Rejects if it cannot. */
export type Cleaner = () => Promise<void>;

/** Enough for some millions of files; a file system that does not answer is given up then. */
const CLEANING_MILLISECONDS = 300_000;

/** Cleans whenever the runner becomes busy or idle: not while commands run, since it would disturb them. */
export class IdleCleaner {
  readonly #clean: Cleaner;
  #users = 0;
  #cleaning: Promise<void> = Promise.resolve();

  constructor(clean: Cleaner) {
    this.#clean = clean;
  }

  /**
   * Runs `work` on a clean machine, and cleans before returning. Rejects as `work` does, or if cleaning before it fails.
   * What fails after it is tried again before the next work, which hears of it.
   */
  async use<T>(work: () => Promise<T>): Promise<T> {
    if (this.#users++ === 0) {
      this.#beginCleaning();
    }
    try {
      await this.#cleaning;
      return await work();
    } finally {
      await this.#release();
    }
  }

  async #release(): Promise<void> {
    if (--this.#users > 0) {
      return;
    }
    this.#beginCleaning();
    await this.#cleaning.catch(() => {});
  }

  #beginCleaning(): void {
    this.#cleaning = this.#cleaning.catch(() => {}).then(this.#clean);
    // Whoever waits for it hears of a failure; perhaps nobody does.
    this.#cleaning.catch(() => {});
  }
}

/**
 * All that the settings ask for, in Buildbarn's order; each is tried, and the first failure thrown as a StatusError,
 * INTERNAL. When the signal aborts, what takes time is given up, and its reason thrown.
 */
export function cleanerOf(settings: BbRunnerSettings, spawner: Spawner, signal: AbortSignal): Cleaner {
  const cleaners: Cleaner[] = [];
  const userId = settings.runCommandsAs?.userId ?? process.getuid?.() ?? 0;
  if (settings.cleanProcessTable) {
    cleaners.push(() => killLaterProcesses(userId, spawner.processId));
  }
  for (const path of settings.cleanTemporaryDirectories) {
    cleaners.push(temporaryDirectoryCleaner(path, spawner, signal));
  }
  const [command, ...args] = settings.runCommandCleaner;
  if (command !== undefined) {
    cleaners.push(() => runCleaningCommand(command, args, signal));
  }
  return async () => {
    const errors: Error[] = [];
    for (const clean of cleaners) {
      await clean().catch((error: Error) => errors.push(error));
    }
    signal.throwIfAborted();
    const [cause] = errors;
    if (cause) {
      throw new StatusError(status(Code.INTERNAL, cause.message), { cause });
    }
  };
}

/** Cleans what the path led to at first, and has that be what it was, whatever a command has put in its place. */
function temporaryDirectoryCleaner(path: string, spawner: Spawner, signal: AbortSignal): Cleaner {
  let directory: KeptDirectory | undefined;
  return async () => {
    const patience = AbortSignal.timeout(CLEANING_MILLISECONDS);
    try {
      directory ??= await describe(path);
      await spawner.cleanDirectory(directory, AbortSignal.any([signal, patience]));
    } catch (error) {
      const reason =
        error instanceof HelperError
          ? `${error.subject}: ${error.reason}; remove it by hand`
          : patience.aborted
            ? `not done within ${CLEANING_MILLISECONDS / 1000} s`
            : (error as Error).message;
      throw new Error(`cannot clean the temporary directory ${path}: ${reason}`, { cause: error });
    }
  };
}

async function describe(path: string): Promise<KeptDirectory> {
  const found = await realpath(path);
  const status = await stat(found);
  if (!status.isDirectory()) {
    throw new Error("it is not a directory");
  }
  return { path: found, mode: status.mode & 0o7777, userId: status.uid, groupId: status.gid };
}

async function runCleaningCommand(
  command: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  // In a process group of its own, which can be ended as a whole.
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "inherit"], detached: true });
  const end = () => {
    const ended = child.exitCode !== null || child.signalCode !== null;
    if (child.pid !== undefined && !ended) {
      process.kill(-child.pid, "SIGKILL");
    }
  };
  signal.addEventListener("abort", end);
  try {
    const [code, killedBy] = await once(child, "close").catch((error: Error) => {
      throw new Error(`cannot run the cleaning command ${command}: ${error.message}`, { cause: error });
    });
    signal.throwIfAborted();
    if (code !== 0) {
      throw new Error(`the cleaning command ${command} failed: ${killedBy ?? `exit code ${code}`}`);
    }
  } finally {
    signal.removeEventListener("abort", end);
  }
}
