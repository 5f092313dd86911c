import type { StorageStatistics } from "../../cas/statistics.ts";
import type { Metrics, Sample } from "../../telemetry/metrics/metrics.ts";
import type { SetOperations } from "../native/file-cache.ts";

/** What was done with the worker's caches as sets from which something is evicted, by Buildbarn's names of these. */
export function observeEvictionSets(
  metrics: Metrics,
  readStorage: () => Readonly<StorageStatistics>,
  readFileCaches: () => readonly Readonly<SetOperations>[],
): void {
  metrics.observe(
    "counter",
    {
      name: "buildbarn_eviction_set_operations_total",
      help: "Operations on the directory cache and on the cache of files for hard links: hits touch.",
      unit: "operations",
      labels: ["name", "operation"],
    },
    () => {
      const { directoriesKept, directoryHits, directoryEvictions } = readStorage();
      const fileCaches = readFileCaches();
      return [
        ...samples("CachingDirectoryFetcher", [
          { insert: directoriesKept, touch: directoryHits, remove: directoryEvictions },
        ]),
        ...(fileCaches.length > 0 ? samples("HardlinkingFileFetcher", fileCaches) : []),
      ];
    },
  );
}

function samples(name: string, sets: readonly Readonly<SetOperations>[]): readonly Sample<number>[] {
  const sum = (operation: keyof SetOperations) =>
    sets.reduce((total, operations) => total + operations[operation], 0);
  return [
    { labels: [name, "Insert"], value: sum("insert") },
    { labels: [name, "Touch"], value: sum("touch") },
    { labels: [name, "Remove"], value: sum("remove") },
  ];
}
