import { availableParallelism, release } from "node:os";
import type { Log } from "./log.ts";

/** The first line of a program's log: what it runs on. */
export function logStart(log: Log, program: string): void {
  log.info(`${program} starts`, {
    kernel: release(),
    architecture: process.arch,
    node: process.versions.node,
    processors: availableParallelism(),
    user: process.getuid?.(),
    pid: process.pid,
  });
}
