import { readdir, readFile } from "node:fs/promises";

interface ProcessEntry {
  readonly pid: number;
  readonly userId: number;
  /** In clock ticks since the machine booted. */
  readonly startTime: number;
}

/** Kills every process of a user that was started after this one. */
export async function killLaterProcesses(userId: number): Promise<void> {
  const self = await readProcess(process.pid);
  if (!self) throw new Error("cannot clean the process table: /proc is not mounted");
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const entry = await readProcess(Number(name));
    if (entry && entry.pid !== self.pid && entry.userId === userId && entry.startTime > self.startTime) {
      kill(entry.pid);
    }
  }
}

/** Undefined if there is no such process, any more. */
async function readProcess(pid: number): Promise<ProcessEntry | undefined> {
  try {
    const [stat, status] = await Promise.all([
      readFile(`/proc/${pid}/stat`, "latin1"),
      readFile(`/proc/${pid}/status`, "latin1"),
    ]);
    // proc_pid_stat(5): the name, in parentheses, may hold any character; 20 fields further is the start time.
    const startTime = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    const effectiveUserId = /^Uid:\t\d+\t(\d+)/m.exec(status)?.[1];
    return { pid, userId: Number(effectiveUserId), startTime: Number(startTime) };
  } catch {
    return undefined;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    // Ended meanwhile, or changed its user.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ESRCH" && code !== "EPERM") throw error;
  }
}
