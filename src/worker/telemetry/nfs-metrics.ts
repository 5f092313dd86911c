import { DURATION_BOUNDS, type NfsServerStatistics } from "../../nfs/index.ts";
import { Distribution, type Metrics, type Sample } from "../../telemetry/metrics/metrics.ts";

/** What the NFS servers of a process did, all together: a mount's path must be no label. */
export function observeNfs(metrics: Metrics, read: () => readonly NfsServerStatistics[]): void {
  metrics.observe(
    "counter",
    {
      name: "buildbarn_nfsv4_program_compound_operations_total",
      help: "NFSv4 operations of the kernel's client, by their status.",
      unit: "operations",
      labels: ["operation", "status"],
    },
    () =>
      summed(
        read(),
        ({ operationCounts }) => operationCounts,
        ({ operation, status }) => [`OP_${operation}`, statusName(status)],
      ),
  );
  metrics.observe(
    "counter",
    {
      name: "bb_worker_nfs4_nfs_operations_total",
      help: "The same by the minor version of NFSv4.",
      unit: "operations",
      labels: ["operation", "minor_version", "status"],
    },
    () =>
      summed(
        read(),
        ({ operationCounts }) => operationCounts,
        ({ operation, minorVersion, status }) => [
          `OP_${operation}`,
          String(minorVersion),
          statusName(status),
        ],
      ),
  );
  metrics.observeHistogram(
    {
      name: "bb_worker_nfs4_nfs_operation_duration_seconds",
      help: "How long NFSv4 operations took. Those that had to wait are all timed, of others one in 16 requests.",
      unit: "seconds",
      labels: ["operation", "minor_version"],
    },
    () => durations(read()),
  );
  const number = (
    kind: "counter" | "gauge",
    name: string,
    help: string,
    unit: string,
    value: (statistics: NfsServerStatistics) => number,
  ) =>
    metrics.observe(kind, { name: `bb_worker_nfs4_nfs_${name}`, help, unit }, () =>
      read().reduce((sum, statistics) => sum + value(statistics), 0),
    );
  number("counter", "read_bytes_total", "Bytes that READ answered with.", "bytes", (of) => of.bytesRead);
  number("counter", "written_bytes_total", "Bytes that WRITE took.", "bytes", (of) => of.bytesWritten);
  number(
    "gauge",
    "connections",
    "Connections of the kernel's client.",
    "connections",
    (of) => of.connections,
  );
  number("gauge", "states", "Opens, locks and delegations that the client has.", "states", (of) => of.states);
  number("gauge", "delegations", "Delegations that the client holds.", "delegations", (of) => of.delegations);
  number(
    "counter",
    "delegations_recalled_total",
    "Delegations that were recalled.",
    "delegations",
    (of) => of.delegationsRecalled,
  );
  number(
    "gauge",
    "held_replies",
    "Operations whose replies are held back now, mostly by a fetch.",
    "operations",
    (of) => of.held,
  );
  number(
    "counter",
    "held_replies_total",
    "Operations whose replies were held back.",
    "operations",
    (of) => of.heldTotal,
  );
  number("counter", "held_seconds_total", "For how long, together.", "seconds", (of) => of.heldSeconds);
}

/** As the RFCs spell it. */
function statusName(status: string): string {
  return status === "OK" ? "NFS4_OK" : /^\d/.test(status) ? "UNKNOWN" : `NFS4ERR_${status}`;
}

function summed<Item extends { readonly count: number }>(
  all: readonly NfsServerStatistics[],
  items: (statistics: NfsServerStatistics) => Iterable<Item>,
  labels: (item: Item) => readonly string[],
): readonly Sample<number>[] {
  const sums = new Map<string, { labels: readonly string[]; value: number }>();
  for (const item of all.flatMap((statistics) => [...items(statistics)])) {
    const key = labels(item).join(" ");
    const sum = sums.get(key) ?? { labels: labels(item), value: 0 };
    sum.value += item.count;
    sums.set(key, sum);
  }
  return [...sums.values()];
}

function durations(all: readonly NfsServerStatistics[]): Iterable<Sample<Distribution>> {
  const sums = new Map<string, Sample<Distribution>>();
  for (const { operation, minorVersion, buckets, seconds } of all.flatMap(({ operationDurations }) => [
    ...operationDurations,
  ])) {
    const key = `${operation} ${minorVersion}`;
    const labels = [`OP_${operation}`, String(minorVersion)];
    const sum = sums.get(key) ?? { labels, value: new Distribution(DURATION_BOUNDS) };
    for (const [index, count] of buckets.entries()) {
      sum.value.counts[index]! += count;
    }
    sum.value.sum += seconds;
    sums.set(key, sum);
  }
  return sums.values();
}
