import { spawn } from "node:child_process";
import { join } from "node:path";

/**
 * Runs this program again, with the same arguments and `more`, where the kernel has an NFS client. Resolves to its exit
 * code.
 */
export function againInKernel(program: string, timeoutSeconds: number, ...more: string[]): Promise<number> {
  const launcher = join(import.meta.dirname, "../../src/user-mode-linux/main.ts");
  const options = ["--timeout", String(Math.ceil(timeoutSeconds)), "--memory", "4G", "--"];
  const command = [process.execPath, "--expose-gc", program, ...process.argv.slice(2), ...more];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [launcher, ...options, ...command], { stdio: "inherit" });
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}
