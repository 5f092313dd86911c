import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { join } from "node:path";
import { processCpuSeconds } from "../process-usage.ts";

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
  cpuSeconds = processCpuSeconds,
): Reading {
  const before = cpuSeconds(target.pid);
  const args = [String(port), kind, String(depth), String(seconds), target.exportName];
  const output = execFileSync(load, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  const [operations, , elapsed] = output.split(" ").map(Number) as [number, number, number];
  const count = operations * units;
  return { rate: count / elapsed, cpu: ((cpuSeconds(target.pid) - before) / count) * 1e6 };
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
