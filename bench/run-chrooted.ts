import { spawn } from "node:child_process";
import { once } from "node:events";

/**
 * Runs a shell script, with arguments, in a root file system of this machine. Resolves to the seconds that it took. Rejects
 * with its complaint if it fails.
 */
export async function runChrooted(root: string, script: string, ...args: readonly string[]): Promise<number> {
  const started = performance.now();
  const child = spawn("chroot", [root, "/bin/sh", "-c", script, "sh", ...args], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: "/usr/sbin:/usr/bin:/bin" },
  });
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint += text;
  });
  const [code] = await once(child, "close");
  if (code !== 0) {
    throw new Error(`exit code ${code} in ${root}: ${complaint.slice(-2000)}`);
  }
  return (performance.now() - started) / 1000;
}
