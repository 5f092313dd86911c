import { readdir, readFile } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";

/** More is needed only where processes are started faster than they are killed. */
const PATIENCE_MILLISECONDS = 10_000;
const RETRY_MILLISECONDS = 5;

interface ProcessEntry {
  readonly pid: number;
  /** Real, effective, saved and of the file system. */
  readonly userIds: readonly number[];
  /** Has ended, and is not reaped yet. */
  readonly ended: boolean;
  /** In clock ticks since the machine booted. */
  readonly startTime: number;
}

/**
 * Kills every process that has any of its user IDs from this user and was started after this one, and waits 10 s at
 * most for them to end: one that waits in the kernel does nothing more when it goes on, either. The process `spared` and
 * those that this process may not kill stay. Throws an Error if there are new ones all the time.
 */
export async function killLaterProcesses(userId: number, spared?: number): Promise<void> {
  const self = await readProcess(process.pid);
  if (!self) {
    throw new Error("cannot clean the process table: /proc is not mounted");
  }
  const killed = new Set<string>();
  const deadline = performance.now() + PATIENCE_MILLISECONDS;
  let found = 0;
  while (performance.now() < deadline) {
    const left = await laterProcesses(userId, self, spared);
    found = 0;
    let mortal = 0;
    for (const { pid, startTime } of left) {
      const name = `${pid} ${startTime}`;
      if (kill(pid)) {
        mortal++;
      }
      if (!killed.has(name)) {
        found++;
      }
      killed.add(name);
    }
    if (mortal === 0) {
      return;
    }
    if (found === 0) {
      await setTimeout(RETRY_MILLISECONDS);
    }
  }
  if (found > 0) {
    throw new Error(`cannot clean the process table: user ${userId} starts processes all the time`);
  }
}

async function laterProcesses(
  userId: number,
  self: ProcessEntry,
  spared: number | undefined,
): Promise<ProcessEntry[]> {
  const later: ProcessEntry[] = [];
  for (const name of await readdir("/proc")) {
    const entry = /^\d+$/.test(name) ? await readProcess(Number(name)) : undefined;
    if (!entry || entry.ended || entry.pid === self.pid || entry.pid === spared) {
      continue;
    }
    if (entry.userIds.includes(userId) && entry.startTime > self.startTime) {
      later.push(entry);
    }
  }
  return later;
}

/** Undefined if there is no such process, any more. */
async function readProcess(pid: number): Promise<ProcessEntry | undefined> {
  try {
    const [stat, status] = await Promise.all([
      readFile(`/proc/${pid}/stat`, "latin1"),
      readFile(`/proc/${pid}/status`, "latin1"),
    ]);
    // proc_pid_stat(5): the name, in parentheses, may hold any character; 20 fields further is the start time.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const userIds = /^Uid:\t(.*)/m.exec(status)?.[1]?.split("\t").map(Number) ?? [];
    return { pid, userIds, ended: /[ZX]/.test(fields[0] ?? ""), startTime: Number(fields[19]) };
  } catch {
    return undefined;
  }
}

/** False if this process may not. */
function kill(pid: number): boolean {
  try {
    process.kill(pid, "SIGKILL");
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EPERM") {
      return false;
    }
    if (code === "ESRCH") {
      return true;
    }
    throw error;
  }
}
