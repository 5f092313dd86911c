import { spawn } from "node:child_process";
import path from "node:path";

const repository = path.resolve(import.meta.dirname, "..");

/** True in a process that {@link runInKernel} started. */
export function insideKernel(): boolean {
  return process.env.IN_KERNEL !== undefined;
}

/**
 * Runs a script of ours where the kernel has an NFS client (src/user-mode-linux/main.ts), with output to the terminal.
 * Only changes in the folder `data` stay. Resolves to the exit code.
 */
export function runInKernel(script: string, args: readonly string[], data: string): Promise<number> {
  const harness = path.join(repository, "src/user-mode-linux/main.ts");
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [
        harness,
        "--out",
        data,
        "--memory",
        "4G",
        "--timeout",
        "1200",
        "--",
        process.execPath,
        script,
        ...args,
      ],
      { stdio: ["ignore", "inherit", "inherit"] },
    );
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.once(signal, () => child.kill(signal));
    }
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}
