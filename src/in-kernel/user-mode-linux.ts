import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findProgram } from "./find-program.ts";
import type { Job } from "./job.ts";
import { bytesOf, DESCRIPTORS, initParameters, type Machine, startMachine } from "./machine.ts";

/** @param tap The tap device at the other end of the network inside, if there is to be one. */
export function userModeLinux(tap: string | undefined): Machine {
  return {
    kind: "uml",
    name: "user-mode Linux",
    bootSeconds: 120,
    graceSeconds: 30,
    boot(job) {
      const program = findProgram("linux.uml");
      if (program === undefined) {
        throw new Error("user-mode Linux is missing: npm run setup installs it");
      }
      const { log, stdout, stderr, control, terminal } = DESCRIPTORS;
      const parameters = [
        `mem=${job.memory}`,
        ...["root=none", "rootfstype=hostfs", "rootflags=/", "ro"],
        `init=${join(import.meta.dirname, "init.sh")}`,
        ...["con=null", `con0=null,fd:${log}`, `con1=fd:${terminal}`],
        ...["ssl=null", `ssl1=null,fd:${stdout}`, `ssl2=null,fd:${stderr}`, `ssl3=null,fd:${control}`],
        `uml_dir=${join(job.folder, "uml")}`,
        ...initParameters({
          machine: "uml",
          lines: "/dev/ttyS",
          terminal: "/dev/tty1",
          modules: "/usr/lib/uml/modules",
          job: job.folder,
        }),
        ...(tap === undefined ? [] : [`vec0:transport=tap,ifname=${tap},depth=128,gro=1`]),
      ];
      allowManyMappings(job);
      const variables = { TMPDIR: memoryFolder(job.memory) };
      return startMachine(
        'exec taskset --cpu-list "$@"',
        [processor(), program, ...parameters],
        job.tty,
        variables,
      );
    },
  };
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
  try {
    const { bavail, bsize } = fs.statfsSync("/dev/shm");
    if (bavail * bsize > bytesOf(memory)) {
      return "/dev/shm";
    }
  } catch {}
  return tmpdir();
}
