import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

export interface ProgramOptions {
  readonly environment?: Readonly<Record<string, string>>;
  /** Receives each line of its standard error. Default: this process's own. */
  readonly log?: (line: string) => void;
  /** What its standard input is. Default: empty. */
  readonly input?: "ignore" | "pipe";
  /** Whether the command begins with one that forks, such as unshare: signals go to its child. */
  readonly forks?: boolean;
}

/** bb_worker or bb_runner as a process of its own. */
export class Program {
  readonly process: ChildProcess;
  readonly lines: string[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #forks: boolean;

  constructor(
    command: readonly string[],
    { environment = {}, log = console.error, input = "ignore", forks = false }: ProgramOptions = {},
  ) {
    this.#forks = forks;
    const [file = "", ...rest] = command;
    this.process = spawn(file, rest, {
      stdio: [input, "inherit", "pipe"],
      env: { ...process.env, ...environment },
    });
    createInterface(this.process.stderr!).on("line", (line) => {
      this.lines.push(line);
      log(line);
      for (const check of this.#waiting) {
        check();
      }
    });
    this.process.on("exit", () => {
      for (const check of this.#waiting) {
        check();
      }
    });
  }

  /** Resolves to the first line, from the `from`th on, that matches. Rejects if the program ends without one. */
  line(pattern: RegExp, from = 0): Promise<string> {
    return new Promise((resolve, reject) => {
      const check = () => {
        const found = this.lines.slice(from).find((line) => pattern.test(line));
        if (found === undefined && !this.ended) {
          return;
        }
        this.#waiting.delete(check);
        if (found === undefined) {
          reject(new Error(`ended without a line like ${pattern}`));
        } else {
          resolve(found);
        }
      };
      this.#waiting.add(check);
      check();
    });
  }

  get ended(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null;
  }

  /** The process that is the program. */
  get pid(): number {
    const { pid = 0 } = this.process;
    return this.#forks ? Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1")) : pid;
  }

  /** Resolves to the exit code, or the signal's name. */
  async end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null> {
    const exit = this.exit();
    if (!this.ended) {
      process.kill(this.pid, signal);
    }
    return exit;
  }

  /** As `end`, when it has ended by itself. */
  async exit(): Promise<number | NodeJS.Signals | null> {
    if (!this.ended) {
      await once(this.process, "exit");
    }
    return this.process.exitCode ?? this.process.signalCode;
  }
}
