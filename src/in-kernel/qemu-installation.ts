import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { findProgram } from "./find-program.ts";

const EMULATOR = "qemu-system-x86_64";
/** Debian 12 has it in qemu-system-common, where it is no program for users. */
const FILE_SERVERS = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"];
const INSTALL = "apt-get install -y --no-install-recommends qemu-system-x86";
const DEFAULT_KERNEL = "linux-image-cloud-amd64";

export interface QemuInstallation {
  readonly emulator: string;
  /** virtiofsd. */
  readonly fileServer: string;
  readonly kernel: Kernel;
}

export interface Kernel {
  readonly image: string;
  readonly version: string;
  /** Has a folder with modules.dep for each version. */
  readonly modules: string;
}

/**
 * `kernel` is a Debian package that scripts/fetch-kernel.sh has fetched, or, if there is a "/" in it, a folder into which
 * one is unpacked. Throws an Error that says what is missing and which command helps.
 */
export function findQemu(kernel = DEFAULT_KERNEL): QemuInstallation {
  const emulator = findProgram(EMULATOR);
  const fileServer = FILE_SERVERS.find((path) => existsSync(path)) ?? findProgram("virtiofsd");
  if (emulator === undefined) {
    throw new Error(`${EMULATOR} is missing (Debian's package qemu-system-x86): ${INSTALL}`);
  }
  if (fileServer === undefined) {
    throw new Error(
      `virtiofsd is missing (Debian 12 has it in the package qemu-system-common, later ones in virtiofsd): ${INSTALL}`,
    );
  }
  return { emulator, fileServer, kernel: findKernel(kernel) };
}

function findKernel(name: string): Kernel {
  const folder = name.includes("/") ? name : join(fetchedKernels(), name);
  const boot = join(folder, "boot");
  const image = existsSync(boot) ? readdirSync(boot).find((file) => file.startsWith("vmlinuz-")) : undefined;
  if (image === undefined) {
    const remedy = name.includes("/")
      ? "expected a folder into which a package of Debian's kernel is unpacked"
      : `npm run fetch-kernel -- ${name}`;
    throw new Error(`there is no kernel ${boot}/vmlinuz-*: ${remedy}`);
  }
  const version = image.slice("vmlinuz-".length);
  const modules = ["lib/modules", "usr/lib/modules"]
    .map((path) => join(folder, path))
    .find((path) => existsSync(join(path, version, "modules.dep")));
  if (modules === undefined) {
    throw new Error(
      `${folder}/lib/modules/${version} lacks modules.dep: depmod --basedir ${folder} ${version}`,
    );
  }
  return { image: join(boot, image), version, modules };
}

/** Where scripts/fetch-kernel.sh unpacks kernels. */
function fetchedKernels(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "bb-worker-nfs4/kernels");
}
