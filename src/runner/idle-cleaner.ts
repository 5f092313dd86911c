import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, rm } from "node:fs/promises";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import { StatusError, status } from "../proto/status.ts";
import { killLaterProcesses } from "./process-table.ts";
import type { RunnerSettings } from "./settings.ts";

/** Removes what commands have left on the machine. Rejects if it cannot. */
export type Cleaner = () => Promise<void>;

/** Cleans whenever the runner becomes busy or idle: not while commands run, since it would disturb them. */
export class IdleCleaner {
  readonly #clean: Cleaner;
  #users = 0;
  #cleaning: Promise<void> = Promise.resolve();

  constructor(clean: Cleaner) {
    this.#clean = clean;
  }

  /** Runs `work` on a clean machine. Rejects as it does, or if cleaning before or after it fails. */
  async use<T>(work: () => Promise<T>): Promise<T> {
    if (this.#users++ === 0) this.#beginCleaning();
    let result: T;
    try {
      await this.#cleaning;
      result = await work();
    } catch (error) {
      await this.#release().catch(() => {});
      throw error;
    }
    await this.#release();
    return result;
  }

  async #release(): Promise<void> {
    if (--this.#users > 0) return;
    this.#beginCleaning();
    await this.#cleaning;
  }

  #beginCleaning(): void {
    this.#cleaning = this.#cleaning.catch(() => {}).then(this.#clean);
    // Whoever waits for it hears of a failure; perhaps nobody does.
    this.#cleaning.catch(() => {});
  }
}

/**
 * All that the settings ask for, in Buildbarn's order; each is tried, and the first failure thrown as a StatusError,
 * INTERNAL.
 */
export function cleanerOf(settings: RunnerSettings): Cleaner {
  const cleaners: Cleaner[] = [];
  const userId = settings.credentials?.userId ?? process.getuid?.() ?? 0;
  if (settings.cleanProcessTable) cleaners.push(() => killLaterProcesses(userId));
  for (const path of settings.cleanTemporaryDirectories) cleaners.push(() => emptyDirectory(path));
  const [command, ...args] = settings.cleaningCommand;
  if (command !== undefined) cleaners.push(() => runCleaningCommand(command, args));
  return async () => {
    const errors: Error[] = [];
    for (const clean of cleaners) await clean().catch((error: Error) => errors.push(error));
    const [cause] = errors;
    if (cause) throw new StatusError(status(Code.INTERNAL, cause.message), { cause });
  };
}

/** Removes everything in a directory. */
export async function emptyDirectory(path: string): Promise<void> {
  try {
    // A name that is not UTF-8 would not be found again by its text.
    for (const name of await readdir(path, { encoding: "buffer" })) {
      await rm(Buffer.concat([Buffer.from(`${path}/`), name]), { recursive: true, force: true });
    }
  } catch (error) {
    throw new Error(`cannot clean the temporary directory ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

async function runCleaningCommand(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "inherit"] });
  const [code, signal] = await once(child, "close").catch((error: Error) => {
    throw new Error(`cannot run the cleaning command ${command}: ${error.message}`, { cause: error });
  });
  if (code !== 0) throw new Error(`the cleaning command ${command} failed: ${signal ?? `exit code ${code}`}`);
}
