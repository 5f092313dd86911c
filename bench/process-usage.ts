import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** Per second, of the kernel's accounting (Linux: sysconf(_SC_CLK_TCK)). */
const TICKS = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

/** What all threads of a process have used so far, in user and kernel mode. */
export function processCpuSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name may hold spaces. Behind it: state, then 10 fields, then user and system time.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** The same of the threads that it has now, to the nanosecond: for readings that are short. */
export function threadsCpuSeconds(pid: number): number {
  const nanoseconds = readdirSync(`/proc/${pid}/task`).map((thread) =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]),
  );
  return nanoseconds.reduce((sum, ofThread) => sum + ofThread, 0) / 1e9;
}

/** What a process has in memory now. */
export function processMemoryMebibytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}
