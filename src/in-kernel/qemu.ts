import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { initramfs, modulesWithDependencies } from "./initramfs.ts";
import { type BootJob, bytesOf, DESCRIPTORS, initParameters, type Machine, startMachine } from "./machine.ts";
import { findQemu, type QemuInstallation } from "./qemu-installation.ts";

/** What is needed before this machine's tree is the root. */
const MODULES = ["virtio_pci", "virtio_console", "virtiofs"];
const PROCESSORS = 2;
/** Beside the lines that every machine has. */
const TERMINAL_LINE = 4;

/**
 * A distribution's kernel on a machine that QEMU emulates, with this machine's tree by virtiofs. `kernel` is as
 * `findQemu` takes it.
 */
export function qemu(kernel: string | undefined): Machine {
  return {
    kind: "qemu",
    name: "a kernel in QEMU",
    bootSeconds: 600,
    graceSeconds: 120,
    boot(job) {
      const installation = findQemu(kernel);
      const socket = join(job.folder, "tree.socket");
      // QEMU connects once, and wants somebody to be there.
      const script = `"$1" --socket-path="$2" -o source=/ -o sandbox=chroot -o cache=always &
        while kill -0 $! && ! [ -S "$2" ]; do sleep 0.05; done
        shift 2; exec "$@"`;
      const { fileServer, emulator } = installation;
      return startMachine(
        script,
        [fileServer, socket, emulator, ...emulatorOptions(installation, socket, job)],
        job.tty,
      );
    },
  };
}

function emulatorOptions({ kernel }: QemuInstallation, socket: string, job: BootJob): string[] {
  const initrd = join(job.folder, "initramfs.cpio");
  const modules = modulesWithDependencies(join(kernel.modules, kernel.version), MODULES);
  writeFileSync(initrd, initramfs(compileStarter(job.folder), modules));
  const parameters = [
    ...["console=ttyS0", "panic=-1", "mitigations=off", "audit=0"],
    `start=${join(import.meta.dirname, "init.sh")}`,
    ...initParameters({
      machine: "qemu",
      lines: "/dev/vport0p",
      terminal: "/dev/hvc0",
      modules: kernel.modules,
      job: job.folder,
    }),
  ];
  const { stdout, stderr, control, terminal } = DESCRIPTORS;
  return [
    ...["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"],
    ...["-machine", "q35,accel=tcg,memory-backend=memory", "-cpu", "max", "-smp", String(PROCESSORS)],
    ...["-m", job.memory],
    ...["-object", `memory-backend-memfd,id=memory,size=${bytesOf(job.memory)},share=on`],
    ...["-kernel", kernel.image, "-initrd", initrd, "-append", parameters.join(" ")],
    ...["-chardev", "stdio,id=log,signal=off", "-serial", "chardev:log"],
    // The first of the virtio devices, or its lines have other names.
    ...["-device", "virtio-serial-pci"],
    ...[stdout, stderr, control].flatMap((fd, index) => [
      ...["-chardev", `socket,id=line${index + 1},fd=${fd}`],
      ...["-device", `virtserialport,chardev=line${index + 1},nr=${index + 1}`],
    ]),
    ...(job.tty ? ["-chardev", `serial,id=terminal,path=/dev/fd/${terminal}`] : []),
    ...(job.tty ? ["-device", `virtconsole,chardev=terminal,nr=${TERMINAL_LINE}`] : []),
    ...["-chardev", `socket,id=tree,path=${socket}`],
    ...["-device", "vhost-user-fs-pci,chardev=tree,tag=host,queue-size=1024"],
  ];
}

/** The first program inside, alone until it has found the tree with all others. */
function compileStarter(folder: string): string {
  const program = join(folder, "start");
  const source = join(import.meta.dirname, "start.c");
  const { status, stderr, error } = spawnSync("cc", ["-static", "-O1", "-o", program, source], {
    encoding: "utf8",
  });
  if (status !== 0) {
    throw new Error(`cannot compile ${source}, which takes gcc and libc6-dev: ${error?.message ?? stderr}`);
  }
  return program;
}
