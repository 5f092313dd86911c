import { spawn } from "node:child_process";
import type { Result } from "./suite.ts";

export interface ProgramOptions {
  /** Entered by a shell of its own: this process may be the server of that folder, and would wait for itself. */
  readonly folder: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** After so long, it and all that it started are killed. */
  readonly timeoutSeconds: number;
}

export interface ProgramOutcome {
  /** null if it was killed. */
  readonly status: number | null;
  /** What it printed, on stdout and stderr. */
  readonly output: string;
  readonly timedOut: boolean;
}

/** So much of a program's output is kept, from its end. */
const KEPT_CHARACTERS = 16 * 2 ** 20;

export function runProgram(command: readonly string[], options: ProgramOptions): Promise<ProgramOutcome> {
  const child = spawn("sh", ["-c", 'cd "$0" && exec "$@" 2>&1', options.folder, ...command], {
    stdio: ["ignore", "pipe", "ignore"],
    env: { ...process.env, LC_ALL: "C", ...options.environment },
    detached: true,
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output = (output + text).slice(-KEPT_CHARACTERS);
  });
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    killGroup(child.pid!);
  }, options.timeoutSeconds * 1000);
  const end = () => killGroup(child.pid!);
  process.once("exit", end);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", () => {
      clearTimeout(timer);
      process.off("exit", end);
      end();
    });
    child.once("close", (status) => resolve({ status, output, timedOut }));
  });
}

/** Ends what a program left behind, too. */
function killGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") {
      throw error;
    }
  }
}

/** The last lines of an output, in one line: enough to see what went wrong. */
export function lastLines(output: string, count = 3): string {
  return output.trim().split("\n").slice(-count).join(" / ").slice(-400);
}

/** The result of a program that says by its status whether the test passed. */
export function resultByStatus(test: string, { status, output, timedOut }: ProgramOutcome): Result {
  if (status === 0) {
    return { test, outcome: "passed" };
  }
  const ending = timedOut ? "no end" : `status ${status}`;
  return { test, outcome: "failed", note: `${ending}: ${lastLines(output)}` };
}
