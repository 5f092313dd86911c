import { readFileSync } from "node:fs";

/** Calls the kernel's NFS client has made for a mount, by operation. */
export type OperationCounts = ReadonlyMap<string, number>;

/** Reads /proc/self/mountstats (Linux: fs/nfs/super.c). Empty where nothing is mounted there. */
export function mountOperations(mountPath: string): OperationCounts {
  const sections = readFileSync("/proc/self/mountstats", "utf8").split(/^device /m);
  const section = sections.find((text) => text.includes(` mounted on ${mountPath} with fstype nfs4`)) ?? "";
  const operations = section.slice(section.indexOf("per-op statistics"));
  return new Map(
    [...operations.matchAll(/^\s*([A-Z_]+): (\d+) /gm)].map(([, name, calls]) => [name!, Number(calls)]),
  );
}

/** What came on top, most frequent first, without operations that did not occur. */
export function operationsSince(before: OperationCounts, after: OperationCounts): [string, number][] {
  return [...after]
    .map(([name, calls]): [string, number] => [name, calls - (before.get(name) ?? 0)])
    .filter(([, calls]) => calls > 0)
    .sort((a, b) => b[1] - a[1]);
}
