import { existsSync, writeFileSync } from "node:fs";
import { run } from "../kernel/mounted-file-systems.ts";

const CONTROL = "/proc/fs/nfsd";
const PORT = 2049;
/** Seconds. Short, as after its start the server takes no new opens for as long as a lease. */
const LEASE_SECONDS = 10;

/** Why the kernel's NFS server cannot be used on this machine, and what to do; undefined if it can. */
export function whyNoKernelServer(): string | undefined {
  const missing = ["exportfs", "rpc.nfsd", "rpc.mountd"].filter((name) => !existsSync(`/usr/sbin/${name}`));
  return missing.length === 0
    ? undefined
    : `nfsd needs ${missing.join(", ")}: apt-get install --no-install-recommends nfs-kernel-server`;
}

/** The kernel's own NFS server, exporting one folder to this machine. For a kernel that nobody else uses. */
export class KernelServer implements AsyncDisposable {
  readonly port = PORT;

  private constructor() {}

  static async start(folder: string): Promise<KernelServer> {
    await must("modprobe", ["nfsd"]);
    if (!existsSync(`${CONTROL}/versions`)) {
      await must("mount", ["-t", "nfsd", "nfsd", CONTROL]);
    }
    writeFileSync(`${CONTROL}/nfsv4leasetime`, String(LEASE_SECONDS));
    writeFileSync(`${CONTROL}/nfsv4gracetime`, String(LEASE_SECONDS));
    const options = "rw,insecure,no_root_squash,no_subtree_check,fsid=0,async,sec=sys";
    await must("exportfs", ["-o", options, `127.0.0.1:${folder}`]);
    await must("rpc.mountd", ["--no-nfs-version", "3", "--no-udp"]);
    await must("rpc.nfsd", ["--no-nfs-version", "3", "--port", String(PORT), "4"]);
    writeFileSync(`${CONTROL}/v4_end_grace`, "Y");
    return new KernelServer();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await must("rpc.nfsd", ["0"]);
    await must("exportfs", ["-au"]);
    const { output } = await run("pidof", ["rpc.mountd"]);
    for (const pid of output.trim().split(" ").filter(Boolean)) {
      process.kill(Number(pid), "SIGTERM");
    }
  }
}

async function must(command: string, args: readonly string[]): Promise<void> {
  const { status, errors } = await run(command, args);
  if (status !== 0) {
    throw new Error(`${command} ${args.join(" ")}: ${errors.trim() || `status ${status}`}`);
  }
}
