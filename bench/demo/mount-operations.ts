import { readdirSync, readFileSync } from "node:fs";

/** Calls the kernel's NFS client has made, by operation. */
export type OperationCounts = ReadonlyMap<string, number>;

/**
 * Reads the statistics of the NFSv4 mount at a path (default: of the first there is; Linux: fs/nfs/super.c, "mountstats")
 * from whichever process sees it: the worker may have a mount namespace of its own. Throws where no process has such a
 * mount.
 */
export function mountOperations(path?: string): OperationCounts {
  const mounted = path === undefined ? " with fstype nfs4 " : ` mounted on ${path} with fstype nfs4 `;
  for (const process of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const section = readMountStatistics(process)
      .split(/^device /m)
      .find((text) => text.includes(mounted));
    if (section !== undefined) {
      const operations = section.slice(section.indexOf("per-op statistics"));
      return new Map(
        [...operations.matchAll(/^\s*([A-Z_]+): (\d+) /gm)].map(([, name, calls]) => [name!, Number(calls)]),
      );
    }
  }
  throw new Error("no process has an NFSv4 mount: is the worker running on this kernel?");
}

/** Empty for a process that has ended meanwhile. */
function readMountStatistics(process: string): string {
  try {
    return readFileSync(`/proc/${process}/mountstats`, "utf8");
  } catch {
    return "";
  }
}

/** What came on top, most frequent first, without operations that did not occur. */
export function operationsSince(before: OperationCounts, after: OperationCounts): [string, number][] {
  return [...after]
    .map(([name, calls]): [string, number] => [name, calls - (before.get(name) ?? 0)])
    .filter(([, calls]) => calls > 0)
    .sort((a, b) => b[1] - a[1]);
}
