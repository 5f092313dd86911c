import type { StorageCapacity, StorageStatistics } from "../../cas/statistics.ts";
import { bytes, count } from "../../telemetry/page/format.ts";
import { type Html, html } from "../../telemetry/page/html.ts";
import { facts, table } from "../../telemetry/page/parts.ts";
import type { FileCache } from "../native/file-cache.ts";

interface Row {
  readonly name: string;
  readonly usedBytes: number;
  readonly limitBytes: number;
  readonly holds: string;
  /** What was found there, and what was not. */
  readonly hits?: readonly [hits: number, misses: number];
}

/** What the caches hold, and how often they helped; and what went to storage and came from there. */
export function cachesContent(
  statistics: Readonly<StorageStatistics>,
  capacity: StorageCapacity,
  pool: { readonly totalBytes: number; readonly freeBytes: number },
  fileCaches: readonly Pick<FileCache, "path" | "count" | "sizeBytes" | "limits">[],
): Html {
  const { memoryHits, diskHits, misses, directoryHits, directoryMisses } = statistics;
  const rows: Row[] = [
    {
      name: "blobs in memory",
      usedBytes: statistics.memoryBytes,
      limitBytes: capacity.memoryBytes,
      holds: "",
      hits: [memoryHits, diskHits + misses],
    },
    {
      name: "directories in memory",
      usedBytes: statistics.directoryBytes,
      limitBytes: capacity.directoryBytes,
      holds: `${count(statistics.directoryCount)} of ${count(capacity.directoryCount)} directories`,
      hits: [directoryHits, directoryMisses],
    },
    {
      name: "blobs in blocks",
      usedBytes: statistics.diskBytes,
      limitBytes: capacity.diskBytes,
      holds: `${count(statistics.diskBlobs)} blobs and chunks`,
      hits: [diskHits, misses],
    },
    ...fileCaches.map(({ path, count: files, sizeBytes, limits }) => ({
      name: `files for hard links, ${path}`,
      usedBytes: sizeBytes,
      limitBytes: limits.maximumSizeBytes,
      holds: `${count(files)} of ${count(limits.maximumFileCount)} files`,
    })),
    {
      name: "file pool: what actions write",
      usedBytes: pool.totalBytes - pool.freeBytes,
      limitBytes: pool.totalBytes,
      holds: "",
    },
  ];
  return html`${table(
    "Caches",
    [
      { heading: "Cache", cell: ({ name }) => name },
      { heading: "Used", isNumber: true, cell: ({ usedBytes }) => bytes(usedBytes) },
      { heading: "Of", isNumber: true, cell: ({ limitBytes }) => bytes(limitBytes) },
      {
        heading: "Full",
        isNumber: true,
        cell: ({ usedBytes, limitBytes }) => percent(usedBytes, limitBytes),
      },
      { heading: "Holds", cell: ({ holds }) => holds },
      {
        heading: "Found there",
        isNumber: true,
        cell: ({ hits }) => hits && `${percent(hits[0], hits[0] + hits[1])} of ${count(hits[0] + hits[1])}`,
      },
    ],
    rows,
    "",
  )}${facts([
    [
      "fetched from storage",
      `${count(statistics.blobsFetched + statistics.chunksFetched)} blobs and chunks, ${bytes(statistics.bytesFetched)}`,
    ],
    ["sent to storage", `${count(statistics.blobsUploaded)} blobs, ${bytes(statistics.bytesUploaded)}`],
    [
      "not sent, as storage had it",
      `${count(statistics.uploadsSpared)} blobs, ${bytes(statistics.bytesUploadSpared)}`,
    ],
    [
      "given up for want of room",
      `${count(statistics.diskBlobsEvicted)} blobs and chunks, ${bytes(statistics.diskBytesEvicted)}`,
    ],
    ["found damaged", `${count(statistics.corruptBlobs)} blobs`],
  ])}`;
}

function percent(part: number, whole: number): string {
  return whole > 0 ? `${((part / whole) * 100).toFixed(part === whole ? 0 : 1)} %` : "–";
}
