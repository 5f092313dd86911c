import type { StorageStatistics } from "../../cas/statistics.ts";
import type { Metrics, Sample } from "../../telemetry/metrics/metrics.ts";

const CACHES = ["memory", "directories", "disk"];

/** What was read through a storage client, and what its caches hold. */
export function observeStorage(metrics: Metrics, read: () => Readonly<StorageStatistics>): void {
  const tiers = (
    name: string,
    help: string,
    unit: string,
    values: (statistics: Readonly<StorageStatistics>) => readonly number[],
  ) =>
    metrics.observe("counter", { name: `bb_worker_nfs4_${name}`, help, unit, labels: ["tier"] }, () =>
      labelled(["memory", "disk", "storage"], values(read())),
    );
  tiers(
    "reads_total",
    "Reads of input files by where the answer came from.",
    "reads",
    ({ memoryHits, diskReads, storageReads }) => [memoryHits, count(diskReads), count(storageReads)],
  );
  tiers(
    "read_bytes_total",
    "Bytes that these asked for.",
    "bytes",
    ({ memoryBytesRead, diskReads, storageReads }) => [memoryBytesRead, diskReads.bytes, storageReads.bytes],
  );
  metrics.observeHistogram(
    {
      name: "bb_worker_nfs4_read_wait_seconds",
      help: "How long reads of input files that memory did not answer took.",
      unit: "seconds",
      labels: ["tier"],
    },
    () => {
      const { diskReads, storageReads } = read();
      return [
        { labels: ["disk"], value: diskReads.waits },
        { labels: ["storage"], value: storageReads.waits },
      ];
    },
  );
  observeTransfers(metrics, read);
  observeCaches(metrics, read);
}

function observeTransfers(metrics: Metrics, read: () => Readonly<StorageStatistics>): void {
  const counter = (
    name: string,
    help: string,
    unit: string,
    value: (statistics: Readonly<StorageStatistics>) => number,
  ) => metrics.observe("counter", { name: `bb_worker_nfs4_${name}`, help, unit }, () => value(read()));
  counter("blobs_fetched_total", "Whole blobs fetched from storage.", "blobs", (of) => of.blobsFetched);
  counter(
    "chunks_fetched_total",
    "Chunks of larger blobs fetched from storage.",
    "chunks",
    (of) => of.chunksFetched,
  );
  counter("fetched_bytes_total", "Bytes of both, uncompressed.", "bytes", (of) => of.bytesFetched);
  counter(
    "directories_fetched_total",
    "How many of the blobs were Directory messages.",
    "directories",
    (of) => of.directoriesFetched,
  );
  counter(
    "corrupt_blobs_total",
    "Blobs whose content did not match their digest, from storage or from the local cache.",
    "blobs",
    (of) => of.corruptBlobs,
  );
  counter("blobs_uploaded_total", "Blobs sent to storage.", "blobs", (of) => of.blobsUploaded);
  counter("uploaded_bytes_total", "Bytes of these.", "bytes", (of) => of.bytesUploaded);
  counter(
    "uploads_spared_total",
    "Blobs that were not sent, as storage had them.",
    "blobs",
    (of) => of.uploadsSpared,
  );
  counter("upload_spared_bytes_total", "Bytes of these.", "bytes", (of) => of.bytesUploadSpared);
  metrics.observe(
    "counter",
    {
      name: "bb_worker_nfs4_directory_reads_total",
      help: "Directories of input roots that were asked for, by whether they were in memory.",
      unit: "directories",
      labels: ["tier"],
    },
    () => {
      const { directoryHits, directoryMisses } = read();
      return labelled(["memory", "disk or storage"], [directoryHits, directoryMisses]);
    },
  );
}

function observeCaches(metrics: Metrics, read: () => Readonly<StorageStatistics>): void {
  metrics.observe(
    "gauge",
    {
      name: "bb_worker_nfs4_cache_size_bytes",
      help: "What the caches hold: of blobs in memory, and in the local cache on the disk.",
      unit: "bytes",
      labels: ["cache"],
    },
    () => {
      const { memoryBytes, diskBytes } = read();
      return labelled(["memory", "disk"], [memoryBytes, diskBytes]);
    },
  );
  metrics.observe(
    "gauge",
    {
      name: "bb_worker_nfs4_disk_cache_blobs",
      help: "Blobs and chunks of blobs in the local cache.",
      unit: "blobs",
    },
    () => read().diskBlobs,
  );
  metrics.observe(
    "counter",
    {
      name: "bb_worker_nfs4_cache_evictions_total",
      help: "What the caches dropped for want of room.",
      unit: "blobs",
      labels: ["cache"],
    },
    () => {
      const { memoryEvictions, directoryEvictions, diskBlobsEvicted } = read();
      return labelled(CACHES, [memoryEvictions, directoryEvictions, diskBlobsEvicted]);
    },
  );
  metrics.observe(
    "counter",
    {
      name: "bb_worker_nfs4_disk_cache_evicted_bytes_total",
      help: "Bytes that the local cache dropped for want of room.",
      unit: "bytes",
    },
    () => read().diskBytesEvicted,
  );
  const blocks = (name: string, help: string, value: (of: Readonly<StorageStatistics>) => number) =>
    metrics.observe(
      "counter",
      {
        name: `buildbarn_blobstore_block_device_backed_block_allocator_${name}_total`,
        help,
        unit: "blocks",
        labels: ["storage_type"],
      },
      () => [{ labels: ["cas"], value: value(read()) }],
    );
  blocks("allocations", "Blocks of the local cache that were begun.", (of) => of.diskBlocksBegun);
  blocks("releases", "Blocks of the local cache that were given up.", (of) => of.diskBlocksGivenUp);
  metrics.observe(
    "gauge",
    {
      name: "buildbarn_blobstore_old_current_new_location_blob_map_last_removed_old_block_insertion_time_seconds",
      help: "When the block of the local cache that was given up last became an old one; at first, when the worker began.",
      unit: "seconds",
      labels: ["storage_type"],
    },
    () => [{ labels: ["cas"], value: read().lastGivenUpOldSince / 1000 }],
  );
}

function count({ waits }: StorageStatistics["diskReads"]): number {
  return waits.counts.reduce((sum, each) => sum + each, 0);
}

function labelled(labels: readonly string[], values: readonly number[]): readonly Sample<number>[] {
  return labels.map((label, index) => ({ labels: [label], value: values[index]! }));
}
