import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** What there is on this machine, each thing as often as there is one of its name. */
export type Census = ReadonlyMap<string, number>;

/** From the kernel's include/linux/sched.h: a thread of its own. */
const PF_KTHREAD = 0x20_0000;

/** What ends by itself may take this long: a killed worker's unmounting, a connection's last words. */
const SETTLE_MILLISECONDS = 20_000;

/** It has a process for what may wait for a mount's server. */
const MOUNT_HELPER = "bb_mount";

/**
 * Counts what an action, a worker or a runner could leave behind: processes, namespaces, mounts, sockets, locks, keys,
 * control groups, and files in the folders.
 */
export function takeCensus(folders: readonly string[]): Census {
  const census = new Map<string, number>();
  const count = (thing: string, times = 1) => census.set(thing, (census.get(thing) ?? 0) + times);
  const namespaces = new Set<string>();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const stat = read(`/proc/${pid}/stat`);
    const [state, parent, , , , , flags] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (stat === "" || (Number(flags) & PF_KTHREAD) !== 0) {
      continue;
    }
    const name = read(`/proc/${pid}/comm`).trim();
    // Started when it is first needed, and ends with it; if it does not, it has another parent.
    if (name === MOUNT_HELPER && read(`/proc/${parent}/comm`).trim() === MOUNT_HELPER) {
      continue;
    }
    const isEnding = read(`/proc/${pid}/cmdline`) === "";
    const where = isEnding ? `, ending, state ${state}, ${read(`/proc/${pid}/wchan`)}` : "";
    count(`process ${name}${where}`);
    for (const kind of ["net", "mnt", "ipc", "pid", "uts"]) {
      namespaces.add(link(`/proc/${pid}/ns/${kind}`));
    }
  }
  for (const namespace of namespaces) {
    if (namespace !== "") {
      count(`namespace ${namespace.split(":")[0]}`);
    }
  }
  for (const line of lines("/proc/self/mountinfo")) {
    count(`mount ${line.split(" ")[4]}`);
  }
  for (const line of lines("/proc/net/unix").slice(1)) {
    count(`unix socket ${line.split(/\s+/)[7] ?? "without a name"}`);
  }
  // A connection that waits out its time is the kernel's.
  const isWaiting = (line: string) => line.trim().split(/\s+/)[3] === "06";
  for (const table of ["tcp", "tcp6"]) {
    count(
      `${table} sockets`,
      lines(`/proc/net/${table}`)
        .slice(1)
        .filter((line) => !isWaiting(line)).length,
    );
  }
  count("file locks", lines("/proc/locks").length);
  for (const line of lines("/proc/keys")) {
    const [, , references, , , , , type, description] = line.trim().split(/\s+/);
    // Nobody refers to it any more: the kernel removes it in its own time.
    if (Number(references) > 0) {
      count(`key ${type} ${description}`);
    }
  }
  // Those that are removed and still have pages are the kernel's, and not there.
  for (const group of directoriesBelow("/sys/fs/cgroup")) {
    count(`control group ${group.replace(/\d+/g, "N")}`);
  }
  for (const folder of folders.filter((folder) => existsSync(folder))) {
    for (const file of readdirSync(folder, { recursive: true })) {
      count(`file ${join(folder, String(file))}`);
    }
  }
  return census;
}

/** What there is more of than before, and stays. */
export async function leftBehind(before: Census, take: () => Census): Promise<string[]> {
  const deadline = performance.now() + SETTLE_MILLISECONDS;
  for (;;) {
    const differences = increase(before, take());
    if (differences.length === 0 || performance.now() > deadline) {
      return differences;
    }
    await delay(200);
  }
}

/** What there is more of than before: lines such as "process sh: 0, then 2". */
function increase(before: Census, after: Census): string[] {
  return [...after]
    .filter(([thing, number]) => number > (before.get(thing) ?? 0))
    .map(([thing, number]) => `${thing}: ${before.get(thing) ?? 0}, then ${number}`)
    .sort();
}

function directoriesBelow(path: string): string[] {
  if (!existsSync(path)) {
    return [];
  }
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
}

function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

function lines(path: string): string[] {
  return read(path)
    .split("\n")
    .filter((line) => line !== "");
}
