import { type ChildProcess, spawnSync } from "node:child_process";
import fs from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { endOnSignal, environment, FAILED, TIMED_OUT } from "./job.ts";
import { type BootJob, DESCRIPTORS, type Machine } from "./machine.ts";

/** Boots a kernel for the command, passes its output on, and ends what hangs; sets the exit code. */
export function runInMachine(machine: Machine, job: BootJob): void {
  writeJob(machine, job);
  const started = performance.now();
  const terminal = job.tty && spawnSync("stty", ["-g"], { stdio: ["inherit", "pipe", "inherit"] }).stdout;
  job.note(`booting ${machine.name}`);
  const leader = machine.boot(job);
  const [stdout, stderr, control] = (["stdout", "stderr", "control"] as const).map(
    (name) => (leader.stdio as readonly unknown[])[DESCRIPTORS[name]] as Readable,
  );
  const log = collectKernelLog(job, leader);
  stdout!.pipe(process.stdout, { end: false });
  stderr!.pipe(process.stderr, { end: false });

  let result: { status: number; complaint?: string } | undefined;
  const end = (status: number, complaint?: string) => {
    result ??= { status, ...(complaint && { complaint }) };
    killGroup(leader);
  };
  endOnSignal(end);

  const timeOut = () => end(TIMED_OUT, `no end after ${job.timeoutSeconds} s`);
  const commandMilliseconds = (job.timeoutSeconds + machine.graceSeconds) * 1000;
  let timer = setTimeout(timeOut, machine.bootSeconds * 1000 + commandMilliseconds);
  let said = "";
  control!.setEncoding("utf8").on("data", (text: string) => {
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
  leader.once("error", (error) => end(FAILED, `cannot run sh: ${error.message}`));
  leader.once("exit", () => end(FAILED, "the kernel stopped before the command ended"));
  leader.once("close", () => {
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

/** Tells `init.sh` the command and how to run it. */
function writeJob(machine: Machine, job: BootJob): void {
  const variables = Object.entries(environment(machine.kind, job)).map(([name, value]) => `${name}=${value}`);
  const settings = [process.cwd(), job.out, String(job.timeoutSeconds), job.tty ? "yes" : "no"];
  for (const [file, strings] of Object.entries({ argv: job.command, env: variables, settings })) {
    fs.writeFileSync(join(job.folder, file), strings.map((string) => `${string}\0`).join(""));
  }
}

/** Writes the kernel's log to a file; the returned function gives its last lines, without those of the boot. */
function collectKernelLog(job: BootJob, leader: ChildProcess): () => string {
  const file = fs.createWriteStream(join(job.out, "kernel.log"));
  let tail = "";
  for (const stream of [leader.stdout, leader.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      const plain = text.replaceAll("\r", "");
      file.write(plain);
      tail = (tail + plain).slice(-32768);
    });
  }
  return () => {
    const afterBoot = tail.slice(tail.indexOf("\n", tail.lastIndexOf("as init process")) + 1);
    return `${afterBoot.trimEnd().split("\n").slice(-80).join("\n")}\n`;
  };
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
