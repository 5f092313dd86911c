import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const TICKS_PER_SECOND = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

/** A server that is measured. */
export interface Target {
  readonly process: ChildProcess;
  readonly pid: number;
  readonly ports: readonly number[];
  readonly exportName: string;
}

export interface Reading {
  /** Operations per second. */
  readonly rate: number;
  /** Microseconds of the server's CPU per operation. */
  readonly cpu: number;
}

/** What a server is put under. */
export interface Load {
  /** The compiled load.c. */
  readonly load: string;
  readonly seconds: number;
  /** Requests under way at a time. */
  readonly depth: number;
}

export function compileLoad(path: string): void {
  execFileSync("cc", ["-O2", "-o", path, join(import.meta.dirname, "load.c")], { stdio: "inherit" });
}

export function measure(
  target: Target,
  port: number,
  kind: string,
  { load, seconds, depth }: Load,
  units: number,
): Reading {
  const before = cpuSeconds(target.pid);
  const args = [String(port), kind, String(depth), String(seconds), target.exportName];
  const output = execFileSync(load, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  const [operations, , elapsed] = output.split(" ").map(Number) as [number, number, number];
  const count = operations * units;
  return { rate: count / elapsed, cpu: ((cpuSeconds(target.pid) - before) / count) * 1e6 };
}

/** User and system time of all threads, from the kernel's accounting. */
function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Starts a script beside this one, which says on which ports it listens. */
export async function startNode(script: string, ...args: readonly string[]): Promise<Target> {
  const child = spawn(process.execPath, [join(import.meta.dirname, script), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ports = await new Promise<number[]>((resolve, reject) => {
    child.stdout.once("data", (text: Buffer) => resolve(text.toString().trim().split(" ").map(Number)));
    child.once("exit", (code) => reject(new Error(`${script} ended with ${code} before it listened`)));
  });
  return { process: child, pid: child.pid!, ports, exportName: "" };
}
