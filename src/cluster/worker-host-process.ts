import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { waitAtMost } from "../async/wait.ts";

/** Where worker and runners run. */
export type Kernel = "this" | "user-mode-linux";

export interface WorkerHostProcessOptions {
  readonly kernel: Kernel;
  /** The file with its settings. */
  readonly settings: string;
  /** Where it may write. */
  readonly workFolder: string;
  /** What it has to reach. */
  readonly sockets: readonly string[];
  /** Where it can be reached: only what is in user-mode Linux needs that. */
  readonly servedSockets: readonly string[];
  /** Receives what worker and runners say. */
  readonly logPath: string;
}

/** The process that is the worker host (worker-host.ts), or has it in its user-mode Linux. */
export class WorkerHostProcess {
  /** Resolves when it is gone, with how it ended. */
  readonly ended: Promise<string>;
  readonly #child: ChildProcess;
  readonly #logPath: string;

  constructor({ kernel, settings, workFolder, sockets, servedSockets, logPath }: WorkerHostProcessOptions) {
    const program = (path: string) => join(import.meta.dirname, `${path}${extname(import.meta.filename)}`);
    const workerHost = [process.execPath, program("worker-host"), settings];
    const places = [workFolder, sockets.join(":"), servedSockets.join(":")];
    const isolated = [process.execPath, program("../in-kernel/isolated"), ...places];
    const unshare =
      kernel === "this"
        ? ["--mount", "--propagation=private", ...workerHost]
        : ["--net", ...isolated, ...workerHost];
    // A file, not a pipe: worker and runners stop in order even when this process is gone.
    const log = openSync(logPath, "w");
    // In a process group of its own: Ctrl-C is for this process, which then stops worker and runners in order.
    const child = spawn("unshare", unshare, {
      stdio: ["ignore", log, log],
      detached: true,
      // Most of a start's time in user-mode Linux goes into reading and compiling the programs' many files.
      env: { ...process.env, NODE_COMPILE_CACHE: join(workFolder, "compile-cache") },
    });
    closeSync(log);
    this.#logPath = logPath;
    this.#child = child;
    this.ended = new Promise((resolve) => {
      child.once("error", (error) => resolve(`cannot run unshare (util-linux): ${error.message}`));
      child.once("close", (code, signal) => {
        resolve(signal ? `ended by ${signal}` : `exit status ${code}`);
      });
    });
  }

  /** Waits until it is gone, and kills it if that takes longer than `milliseconds`. */
  async end(milliseconds: number): Promise<void> {
    if (!(await waitAtMost(this.ended, milliseconds)) && this.#child.pid !== undefined) {
      process.kill(-this.#child.pid, "SIGKILL");
    }
    await this.ended;
  }

  lastLines(): string {
    return readFileSync(this.#logPath, "utf8").trimEnd().split("\n").slice(-30).join("\n");
  }
}
