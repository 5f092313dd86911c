import { spawn } from "node:child_process";
import { extname, join } from "node:path";

export interface RunInKernelOptions {
  /** The one folder whose changes stay. Default: none. */
  readonly data?: string;
  /** After that it counts as hung. Default 1200. */
  readonly timeoutSeconds?: number;
  /** For Node. */
  readonly flags?: readonly string[];
}

/** True in a process that {@link runInKernel} started. */
export function insideKernel(): boolean {
  return process.env.IN_KERNEL !== undefined;
}

/**
 * Runs a script of ours where the kernel has an NFS client, with output to the terminal; SIGINT and SIGTERM are passed
 * on. Resolves to the exit code.
 */
export function runInKernel(
  script: string,
  args: readonly string[],
  { data, timeoutSeconds = 1200, flags = [] }: RunInKernelOptions = {},
): Promise<number> {
  const launcher = join(import.meta.dirname, `main${extname(import.meta.filename)}`);
  const options = [
    ...(data === undefined ? [] : ["--out", data]),
    "--memory",
    "4G",
    "--timeout",
    String(Math.ceil(timeoutSeconds)),
  ];
  const command = [process.execPath, ...flags, script, ...args];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [launcher, ...options, "--", ...command], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.once(signal, () => child.kill(signal));
    }
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}
