import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** Whether this machine's own kernel can mount NFSv4; as root, its module is loaded first if need be. */
export function kernelCanMountNfs(): boolean {
  spawnSync("modprobe", ["-aq", "nfs", "nfsv4"]);
  return /\bnfs4$/m.test(readFileSync("/proc/filesystems", "utf8"));
}
