import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";

export interface CgroupLimits {
  /** Of one command; its threads count, too. */
  readonly maximumProcesses: number;
  readonly maximumMemoryBytes: number | undefined;
  /** From 1 to 10,000. */
  readonly cpuWeight: number | undefined;
}

/** The runner's own, beside those of commands: a cgroup with others in it may have no processes itself. */
const OWN = "bb_runner";
/** Before the number of the process that the commands are of. */
const COMMANDS = "bb_runner_commands.";

/** What the kernel kills late, since it waits for a device or a file server. */
const REMOVAL_MILLISECONDS = 10_000;
const RETRY_MILLISECONDS = 5;
/** Between two attempts to remove what could not be removed in time. */
const LEFTOVER_MILLISECONDS = 1000;

/**
 * A cgroup for each command, below the one that this process was started in; cgroups(7), version 2. What a command needs of
 * it is done at once: the kernel answers from memory, in less time than a thread of libuv takes to be asked.
 */
export class Cgroups {
  readonly #parent: string;
  readonly #limits: CgroupLimits;
  readonly #onLeftover: (path: string) => void;
  /** What could not be removed in time, and is removed once its processes have ended. */
  readonly #leftovers = new Set<string>();
  #isRetrying = false;
  #count = 0;

  private constructor(parent: string, limits: CgroupLimits, onLeftover: (path: string) => void) {
    this.#parent = parent;
    this.#limits = limits;
    this.#onLeftover = onLeftover;
  }

  /**
   * Moves this process, and what else is in its cgroup, into one of their own beside the commands'. Rejects with the
   * reason if this process's cgroup is not its own to divide. `onLeftover` is told of a cgroup whose processes do not
   * end.
   */
  static async divideOwn(limits: CgroupLimits, onLeftover: (path: string) => void): Promise<Cgroups> {
    const own = await ownCgroup();
    const base = basename(own) === OWN ? dirname(own) : own;
    const available = (await readFile(join(base, "cgroup.controllers"), "utf8")).trim().split(" ");
    const wanted = ["pids", "memory", ...(limits.cpuWeight === undefined ? [] : ["cpu"])];
    const missing = wanted.filter((controller) => !available.includes(controller));
    if (missing.length > 0) {
      throw new Error(`${base} has no controller ${missing.join(", ")}`);
    }
    // The machine's root alone may have both processes and others below it, and is the only one without a type.
    if (existsSync(join(base, "cgroup.type"))) {
      await moveProcesses(base, join(base, OWN));
    }
    const abandoned = await removeAbandoned(base);
    const parent = join(base, `${COMMANDS}${process.pid}`);
    await enable(base, wanted);
    await mkdir(parent);
    await enable(parent, wanted);
    const cgroups = new Cgroups(parent, limits, onLeftover);
    for (const path of abandoned) {
      cgroups.#removeLater(path);
    }
    return cgroups;
  }

  /** Gives `work` the path of a new cgroup, ends what is left there, and returns the memory it had at most, in bytes. */
  async use<T>(work: (path: string) => Promise<T>): Promise<{ result: T; memoryPeak: bigint | undefined }> {
    const path = join(this.#parent, String(++this.#count));
    mkdirSync(path);
    try {
      this.#limit(path);
      const result = await work(path);
      return { result, memoryPeak: memoryPeak(path) };
    } finally {
      if (!(await remove(path))) {
        this.#removeLater(path);
      }
    }
  }

  /** Once no command runs. */
  async close(): Promise<void> {
    await this.#removeLeftovers();
    if (!(await remove(this.#parent))) {
      this.#onLeftover(this.#parent);
    }
  }

  #removeLater(path: string): void {
    this.#onLeftover(path);
    this.#leftovers.add(path);
    void this.#retry();
  }

  async #retry(): Promise<void> {
    if (this.#isRetrying) {
      return;
    }
    this.#isRetrying = true;
    while (this.#leftovers.size > 0) {
      // Nothing that this process has to stay for.
      await setTimeout(LEFTOVER_MILLISECONDS, undefined, { ref: false });
      await this.#removeLeftovers();
    }
    this.#isRetrying = false;
  }

  /** Those before the cgroups that they are in, as they were left in that order. */
  async #removeLeftovers(): Promise<void> {
    for (const path of this.#leftovers) {
      await kill(path);
      if ((await removeNow(path)) === "removed") {
        this.#leftovers.delete(path);
      }
    }
  }

  #limit(path: string): void {
    const { maximumProcesses, maximumMemoryBytes, cpuWeight } = this.#limits;
    const set = (file: string, value: string | number) => writeFileSync(join(path, file), String(value));
    set("pids.max", maximumProcesses);
    // What lacks memory ends as a whole: half of a command is of no use.
    set("memory.oom.group", 1);
    if (maximumMemoryBytes !== undefined) {
      set("memory.max", maximumMemoryBytes);
      // Absent without swap.
      if (existsSync(join(path, "memory.swap.max"))) {
        set("memory.swap.max", 0);
      }
    }
    if (cpuWeight !== undefined) {
      set("cpu.weight", cpuWeight);
    }
  }
}

/** The directory of this process's cgroup. */
async function ownCgroup(): Promise<string> {
  const path = /^0::(\/.*)$/m.exec(await readFile("/proc/self/cgroup", "utf8"))?.[1];
  // mountinfo: number, parent, device, root, mount point, options, …, "-", type, …
  for (const line of (await readFile("/proc/self/mountinfo", "utf8")).split("\n")) {
    const [, , , root = "", mountPoint = "", ...rest] = line.split(" ");
    if (rest[rest.indexOf("-") + 1] !== "cgroup2" || path === undefined) {
      continue;
    }
    const prefix = root === "/" ? "" : root;
    if (`${path}/`.startsWith(`${prefix}/`) && !path.includes("/..")) {
      return join(mountPoint, path.slice(prefix.length));
    }
  }
  throw new Error("no cgroup of version 2 is mounted that has this process");
}

async function processesIn(path: string): Promise<string[]> {
  return (await readFile(join(path, "cgroup.procs"), "utf8")).split("\n").filter(Boolean);
}

async function moveProcesses(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const pid of await processesIn(from)) {
    await writeFile(join(to, "cgroup.procs"), pid).catch((error: NodeJS.ErrnoException) => {
      // It has ended meanwhile.
      if (error.code !== "ESRCH") {
        throw error;
      }
    });
  }
}

async function enable(path: string, controllers: readonly string[]): Promise<void> {
  const all = controllers.map((controller) => `+${controller}`).join(" ");
  await writeFile(join(path, "cgroup.subtree_control"), all);
}

/** Removes what runners that were killed have left. Resolves to what could not be removed in time. */
async function removeAbandoned(base: string): Promise<string[]> {
  const left: string[] = [];
  for (const name of await readdir(base)) {
    const pid = name.startsWith(COMMANDS) ? name.slice(COMMANDS.length) : undefined;
    if (pid === undefined || (pid !== String(process.pid) && existsSync(`/proc/${pid}`))) {
      continue;
    }
    const abandoned = join(base, name);
    for (const entry of await readdir(abandoned, { withFileTypes: true })) {
      const path = join(abandoned, entry.name);
      if (entry.isDirectory() && !(await remove(path))) {
        left.push(path);
      }
    }
    // It cannot go before them.
    if (left.some((path) => path.startsWith(`${abandoned}/`)) || !(await remove(abandoned))) {
      left.push(abandoned);
    }
  }
  return left;
}

function memoryPeak(path: string): bigint | undefined {
  try {
    return BigInt(readFileSync(join(path, "memory.peak"), "utf8").trim());
  } catch {
    // Kernels before 5.19 do not keep it.
    return undefined;
  }
}

/** Ends its processes and removes it; false if they do not end. */
async function remove(path: string): Promise<boolean> {
  const deadline = performance.now() + REMOVAL_MILLISECONDS;
  for (;;) {
    const outcome = await removeNow(path);
    if (outcome !== "busy" || performance.now() > deadline) {
      return outcome === "removed";
    }
    await kill(path);
    await setTimeout(RETRY_MILLISECONDS);
  }
}

async function removeNow(path: string): Promise<"removed" | "busy" | "not removed"> {
  try {
    await rmdir(path);
    return "removed";
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "ENOENT" ? "removed" : code === "EBUSY" ? "busy" : "not removed";
  }
}

/** Absent before Linux 5.14; whoever ran the command has killed it, too. */
async function kill(path: string): Promise<void> {
  await writeFile(join(path, "cgroup.kill"), "1").catch(() => {});
}
