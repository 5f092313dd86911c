import { existsSync, readdirSync, readFileSync, watch } from "node:fs";
import { dirname } from "node:path";

/** Whether there is no such process, or one that only waits to be reaped. */
export function processIsGone(pid: number): boolean {
  try {
    return /^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return true;
  }
}

/** The living processes whose command line contains this. */
export function processesWith(text: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return !processIsGone(pid) && readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(text);
      } catch {
        return false;
      }
    });
}

/** The text of a file in an existing directory, as soon as it matches. */
export async function untilFile(path: string, pattern: RegExp): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const look = () => {
    const text = existsSync(path) ? readFileSync(path, "utf8") : "";
    if (pattern.test(text)) {
      resolve(text);
    }
  };
  const watcher = watch(dirname(path), look);
  look();
  try {
    return await promise;
  } finally {
    watcher.close();
  }
}

export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim().split(" ").map(Number);
}
