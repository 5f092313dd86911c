/**
 * `npm run check:metrics`: docs/metrics.md lists every metric that the programs have, as the code describes it. `-- --write`
 * writes it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { MetricFamily } from "../src/telemetry/metrics/metrics.ts";
import { runnerFamilies, workerFamilies } from "./program-metrics.ts";

const DOCUMENT = path.resolve(import.meta.dirname, "../docs/metrics.md");

const INTRODUCTION = `# Metrics

The tables are written by \`npm run check:metrics -- --write\` from what the code says of each metric.

\`global.diagnosticsHttpServer\` with \`enablePrometheus\` serves them at \`/metrics\`, in Prometheus' text format. Metrics of
Buildbarn's programs have its names, labels and buckets wherever they mean the same, so that dashboards and alerts made for
those show this worker, too; what follows go-grpc-prometheus (\`grpc_…\`), and the clients of Prometheus (\`process_…\`,
\`nodejs_…\`) has theirs. All others begin with \`bb_worker_nfs4_\`. No label has a digest, a path or a name that an action
chose: the number of series does not grow with the work.

OpenTelemetry's serializer writes what is here. It appends \`_total\` to names of counters, which all of ours have already,
and units go into \`# UNIT\`, not into names; so Buildbarn's names come out as they are, also where they lack their unit, as
\`…_virtual_execution_duration\`. OpenTelemetry has no histogram that is read when somebody asks: histograms go to its reader
as what another producer has counted.

\`configs/grafana/\` has a dashboard for each program. \`npm run check:dashboards\` holds that they ask for nothing that is not
here, and \`npm test -- e2e/dashboards\`, where Debian's \`prometheus\` is installed, that every panel has data during a build.

Of bb-deployments' dashboards (\`monitoring/grafana\`, with its recording rules), BuildExecutor and gRPC clients show
the worker in every panel, and gRPC servers the runner. BlobAccess shows what the worker does with \`cas\` and \`ac\`, to which it
only writes; Eviction sets has \`CachingDirectoryFetcher\` and, where inputs are hard links, \`HardlinkingFileFetcher\`.
FUSE is empty. The others are about storage and the scheduler.

What Buildbarn's worker has and this one has not, as nothing here means the same:
`;

const ABSENT: readonly (readonly string[])[] = [
  ["metrics", "why not"],
  ["`buildbarn_fuse_raw_file_system_…`", "there is no FUSE; see `bb_worker_nfs4_nfs_…`"],
  [
    "`buildbarn_nfsv4_nfs40_program_open_owner…`",
    "opens, locks and delegations of all versions are in `bb_worker_nfs4_nfs_states`",
  ],
  [
    "`buildbarn_blobstore_blob_access_…` with a `backend_type` other than `grpc`",
    "what is wrapped around servers is not measured apart from them",
  ],
  [
    "`buildbarn_blobstore_hashing_key_location_map_…`, `…_flat_blob_access_refreshes_…`",
    "would be counted at each look-up of a blob",
  ],
  [
    "`buildbarn_blobstore_block_device_backed_block_allocator_gets_…`",
    "blobs are read with `bb_worker_nfs4_reads_total`",
  ],
  [
    "`buildbarn_blobstore_blob_replicator_…`, `…_mirrored_blob_access_…`",
    "the copies show as operations at the servers",
  ],
  [
    "`buildbarn_eviction_set_operations_total` with other names",
    "of `CachingDirectoryFetcher` and `HardlinkingFileFetcher` it is there; other sets are small",
  ],
  ["`buildbarn_zstd_pool_…`", "there is no pool: Zstandard is Node's own"],
  [
    "`buildbarn_virtual_pool_backed_file_allocator_…`",
    "the kernel is asked once to write everything back, within the stage UploadingOutputs",
  ],
  ["`go_…`", "see `nodejs_…`"],
];

function main(): number {
  const text = `${INTRODUCTION}
${table(ABSENT)}
## bb_worker

${table(described(workerFamilies()))}
## bb_runner

${table(described(runnerFamilies()))}`;
  if (process.argv.includes("--write")) {
    writeFileSync(DOCUMENT, text);
    return 0;
  }
  if (readFileSync(DOCUMENT, "utf8") === text) {
    return 0;
  }
  console.error("docs/metrics.md is not what the code does: npm run check:metrics -- --write");
  return 1;
}

function described(families: readonly MetricFamily[]): readonly (readonly string[])[] {
  const rows = families
    .toSorted((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1))
    .map(({ name, kind, unit, labels, help }) => [
      `\`${name}\``,
      kind,
      unit,
      labels.map((label) => `\`${label}\``).join(", "),
      help,
    ]);
  return [["name", "kind", "unit", "labels", "what it is"], ...rows];
}

/** The first row is the header. */
function table(rows: readonly (readonly string[])[]): string {
  const [header = [], ...body] = rows;
  const widths = header.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column]!)).join(" | ")} |\n`;
  return [line(header), line(widths.map((width) => "-".repeat(width))), ...body.map(line)].join("");
}

/** Buildbarn's first, then those of its libraries. */
function rank({ name }: MetricFamily): number {
  return ["buildbarn_", "grpc_", "bb_worker_nfs4_", ""].findIndex((prefix) => name.startsWith(prefix));
}

process.exitCode = main();
