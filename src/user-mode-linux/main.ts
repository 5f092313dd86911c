import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { parseArgs } from "node:util";
import { kernelCanMountNfs } from "./host-kernel.ts";

const HELP = `Usage: npm run in-kernel -- [OPTION…] [--] COMMAND [ARGUMENT…]

Runs COMMAND where the kernel has an NFSv4 client: in user-mode Linux on a copy-on-write view of this
machine's files, or, where this machine's kernel has the client and you are root, here in a private mount
namespace. Output and exit status are COMMAND's; it sees the same folder and environment, and
IN_KERNEL=uml|native and IN_KERNEL_OUT=DIR.

  --out DIR          the one folder whose changes stay (default: a temporary one, removed at the end);
                     DIR/kernel.log receives user-mode Linux's kernel log
  --timeout SECONDS  end a hung COMMAND with status 124 and the kernel's log (default 600)
  --memory SIZE      user-mode Linux's memory, such as 512M or 4G (default 3G)
  --tap DEVICE       connect the network device vec0 inside to this machine's tap DEVICE
  --tty              give COMMAND this terminal, for example for a shell: --tty bash
  --uml, --native    choose the kernel instead of looking
  --quiet            no progress notes on stderr
  --help             this text

Status 124: timed out. 125: the kernel could not start, or crashed. Else COMMAND's, 128+N for signal N.`;

const OPTIONS = {
  out: { type: "string" },
  timeout: { type: "string", default: "600" },
  memory: { type: "string", default: "3G" },
  tap: { type: "string" },
  tty: { type: "boolean", default: false },
  uml: { type: "boolean", default: false },
  native: { type: "boolean", default: false },
  quiet: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

interface Job {
  command: string[];
  /** Absolute path of the folder shared with the host. */
  out: string;
  timeoutSeconds: number;
  /** As the kernel's `mem=` wants it, for example "3G". */
  memory: string;
  /** The tap device at the other end of the network inside, if there is to be a network. */
  tap: string | undefined;
  tty: boolean;
  /** Private scratch folder of this run, removed at its end. */
  folder: string;
  note(text: string): void;
}

const TIMED_OUT = 124;
const FAILED = 125;

/** How long the kernel inside may take, after the time-out, to describe what hangs. */
const GRACE_SECONDS = 30;
/** How long the boot may take, on a machine that is busy. */
const BOOT_SECONDS = 120;

class UsageError extends Error {}

function main(): void {
  let job: Job;
  let native: boolean;
  try {
    ({ job, native } = readArguments(process.argv.slice(2)));
  } catch (error) {
    process.stderr.write(`in-kernel: ${(error as Error).message}\nSee npm run in-kernel -- --help\n`);
    process.exitCode = FAILED;
    return;
  }
  process.once("exit", () => fs.rmSync(job.folder, { recursive: true, force: true }));
  if (native) {
    runNatively(job);
  } else {
    runInUserModeLinux(job);
  }
}

function readArguments(argv: string[]): { job: Job; native: boolean } {
  const { tokens } = parseArgs({ args: argv, options: OPTIONS, strict: false, tokens: true });
  const end = tokens.find((token) => token.kind !== "option");
  const own = argv.slice(0, end?.index);
  const command = end ? argv.slice(end.kind === "positional" ? end.index : end.index + 1) : [];
  const { values } = parseArgs({ args: own, options: OPTIONS });
  if (values.help) {
    process.stdout.write(`${HELP}\n`);
    process.exit(0);
  }
  if (command.length === 0) {
    throw new UsageError("which command?");
  }
  if (values.uml && values.native) {
    throw new UsageError("--uml or --native, not both");
  }
  const { timeout, memory } = values;
  if (!(Number(timeout) > 0)) {
    throw new UsageError(`--timeout ${timeout}: expected seconds, such as 60`);
  }
  if (!/^\d+[MG]$/.test(memory)) {
    throw new UsageError(`--memory ${memory}: expected such as 512M or 4G`);
  }
  if (values.tty && !process.stdin.isTTY) {
    throw new UsageError("--tty: stdin is not a terminal");
  }
  const folder = fs.mkdtempSync(join(tmpdir(), "in-kernel-"));
  const out = values.out === undefined ? join(folder, "out") : resolve(values.out);
  fs.mkdirSync(out, { recursive: true });
  const job: Job = {
    command,
    out,
    timeoutSeconds: Number(timeout),
    memory,
    tap: values.tap,
    tty: values.tty,
    folder,
    note: (text) => {
      if (!values.quiet) {
        process.stderr.write(`in-kernel: ${text}\n`);
      }
    },
  };
  return { job, native: values.native || (!values.uml && process.getuid?.() === 0 && kernelCanMountNfs()) };
}

function environment(kernel: "uml" | "native", out: string): NodeJS.ProcessEnv {
  return { ...process.env, IN_KERNEL: kernel, IN_KERNEL_OUT: out };
}

function runNatively(job: Job): void {
  const namespaces = ["--mount", "--propagation=private", "--pid", "--fork", "--mount-proc", "--kill-child"];
  // The shell is the namespace's first process, so that the command itself has no first process's duties.
  const child = spawn("unshare", [...namespaces, "sh", "-c", '"$@"; exit $?', "sh", ...job.command], {
    stdio: "inherit",
    env: environment("native", job.out),
  });
  let status: number | undefined;
  const end = (newStatus: number) => {
    status ??= newStatus;
    child.kill("SIGKILL");
  };
  endOnSignal(end);
  const timer = setTimeout(() => {
    job.note(`no end after ${job.timeoutSeconds} s: killed`);
    end(TIMED_OUT);
  }, job.timeoutSeconds * 1000);
  child.once("error", (error) => {
    process.stderr.write(`in-kernel: cannot run unshare (util-linux): ${error.message}\n`);
    end(FAILED);
  });
  child.once("close", (code) => {
    clearTimeout(timer);
    process.exitCode = status ?? code ?? FAILED;
  });
}

function runInUserModeLinux(job: Job): void {
  const list = (strings: string[]) => strings.map((string) => `${string}\0`).join("");
  const variables = Object.entries(environment("uml", job.out)).map(([name, value]) => `${name}=${value}`);
  fs.writeFileSync(join(job.folder, "argv"), list(job.command));
  fs.writeFileSync(join(job.folder, "env"), list(variables));
  const settings = [process.cwd(), job.out, String(job.timeoutSeconds), job.tty ? "yes" : "no"];
  fs.writeFileSync(join(job.folder, "settings"), list(settings));

  const started = performance.now();
  const terminal = job.tty && spawnSync("stty", ["-g"], { stdio: ["inherit", "pipe", "inherit"] }).stdout;
  const uml = bootUserModeLinux(job);
  const [, , , stdout, stderr, control] = uml.stdio as (Readable | null)[];
  const log = collectKernelLog(job, uml);
  if (!stdout || !stderr || !control) {
    throw new Error("spawn gave no pipes");
  }
  stdout.pipe(process.stdout, { end: false });
  stderr.pipe(process.stderr, { end: false });

  let result: { status: number; complaint?: string } | undefined;
  const end = (status: number, complaint?: string) => {
    result ??= { status, ...(complaint && { complaint }) };
    killGroup(uml);
  };
  endOnSignal(end);

  const timeOut = () => end(TIMED_OUT, `no end after ${job.timeoutSeconds} s`);
  const commandMilliseconds = (job.timeoutSeconds + GRACE_SECONDS) * 1000;
  let timer = setTimeout(timeOut, BOOT_SECONDS * 1000 + commandMilliseconds);
  let said = "";
  control.setEncoding("utf8").on("data", (text: string) => {
    said += text;
    const lines = said.split("\n");
    said = lines.pop() ?? "";
    for (const line of lines) {
      const [word, value] = line.trim().split(" ");
      if (word === "ready") {
        clearTimeout(timer);
        timer = setTimeout(timeOut, commandMilliseconds);
        job.note(`kernel ${value} ready after ${((performance.now() - started) / 1000).toFixed(1)} s`);
      } else if (word === "timeout") {
        timeOut();
      } else if (word === "exit") {
        end(Number(value));
      }
    }
  });
  uml.once("error", (error) => end(FAILED, `cannot run sh: ${error.message}`));
  uml.once("exit", (code) => {
    if (code === 127) {
      end(FAILED, "user-mode Linux is missing (npm run setup installs it)");
    } else {
      end(FAILED, "the kernel stopped before the command ended");
    }
  });
  uml.once("close", () => {
    clearTimeout(timer);
    if (terminal) {
      spawnSync("stty", [String(terminal).trim()], { stdio: "inherit" });
    }
    process.exitCode = result?.status ?? FAILED;
    if (result?.complaint) {
      process.stderr.write(`in-kernel: ${result.complaint}; the kernel's log ends:\n${log()}`);
    }
  });
}

function bootUserModeLinux(job: Job): ChildProcess {
  const parameters = [
    `mem=${job.memory}`,
    "root=none rootfstype=hostfs rootflags=/ ro",
    `init=${join(import.meta.dirname, "init.sh")}`,
    "con=null con0=null,fd:1 con1=fd:6 ssl=null ssl1=null,fd:3 ssl2=null,fd:4 ssl3=null,fd:5",
    `uml_dir=${join(job.folder, "uml")}`,
    `job=${job.folder}`,
    job.tap ? `vec0:transport=tap,ifname=${job.tap},depth=128,gro=1` : "",
  ].flatMap((parameter) => parameter.split(" ").filter((word) => word !== ""));
  allowManyMappings(job);
  job.note("booting user-mode Linux");
  // The watcher at fd 7 ends them all when this process is gone, however it ended.
  const script = '(cat <&7 >/dev/null; kill -KILL 0) & exec taskset --cpu-list "$@" 7<&-';
  return spawn("sh", ["-c", script, "sh", processor(), "linux.uml", ...parameters], {
    detached: true,
    env: { PATH: process.env.PATH, TMPDIR: memoryFolder(job.memory) },
    stdio: ["ignore", "pipe", "pipe", "pipe", "pipe", "pipe", job.tty ? 0 : "ignore", "pipe"],
  });
}

/**
 * The processor to pin user-mode Linux to: a system call inside costs 15 µs if its kernel and its processes share
 * one, and 65 µs if they are free to wander.
 */
function processor(): string {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(fs.readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  const processors = list.split(",").flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
  return String(processors[process.pid % processors.length]);
}

/**
 * Each page of a process inside can be a mapping of its own on the host: with the host's usual limit, 65530,
 * a process inside dies when it has touched 256 MiB.
 */
function allowManyMappings(job: Job): void {
  const file = "/proc/sys/vm/max_map_count";
  const wanted = 2 ** 20;
  if (Number(fs.readFileSync(file, "utf8")) >= wanted) {
    return;
  }
  try {
    fs.writeFileSync(file, String(wanted));
    job.note(`raised this machine's vm.max_map_count to ${wanted}: each page inside may take a mapping`);
  } catch {
    job.note(`a process inside dies beyond 256 MiB until root runs: sysctl vm.max_map_count=${wanted}`);
  }
}

/** Where user-mode Linux keeps the file that is its memory: in the host's memory if it fits. */
function memoryFolder(memory: string): string {
  const bytes = Number.parseInt(memory, 10) * (memory.endsWith("G") ? 2 ** 30 : 2 ** 20);
  try {
    const { bavail, bsize } = fs.statfsSync("/dev/shm");
    if (bavail * bsize > bytes) {
      return "/dev/shm";
    }
  } catch {}
  return tmpdir();
}

/** Writes the kernel's log to a file; the returned function gives its last lines, without those of the boot. */
function collectKernelLog(job: Job, uml: ChildProcess): () => string {
  const file = fs.createWriteStream(join(job.out, "kernel.log"));
  let tail = "";
  for (const stream of [uml.stdout, uml.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      const plain = text.replaceAll("\r", "");
      file.write(plain);
      tail = (tail + plain).slice(-32768);
    });
  }
  return () => {
    const afterBoot = tail.slice(tail.indexOf("\n", tail.lastIndexOf("init.sh as init process")) + 1);
    return `${afterBoot.trimEnd().split("\n").slice(-80).join("\n")}\n`;
  };
}

function endOnSignal(end: (status: number) => void): void {
  process.once("SIGINT", () => end(130));
  process.once("SIGTERM", () => end(143));
  process.once("SIGHUP", () => end(129));
}

function killGroup(leader: ChildProcess): void {
  if (leader.pid === undefined) {
    return;
  }
  try {
    process.kill(-leader.pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") {
      throw error;
    }
  }
}

main();
