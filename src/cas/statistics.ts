import { decimalBuckets } from "../telemetry/metrics/buckets.ts";
import { Distribution } from "../telemetry/metrics/metrics.ts";

/** Seconds: a read from the disk may take some 10 µs, one from storage a minute. */
const WAIT_BOUNDS = decimalBuckets(-5, 7);

/** Reads that a tier behind the memory answered. */
export class TierReads {
  bytes = 0;
  /** Seconds from the request to the answer. */
  readonly waits = new Distribution(WAIT_BOUNDS);

  /** Counts a read that began at `startedAt` (as of `performance.now()`) when it is answered; returns the answer. */
  note<Answer extends Uint8Array | undefined>(
    startedAt: number,
    answer: Answer | Promise<Answer>,
  ): Answer | Promise<Answer> {
    if (answer instanceof Promise) {
      return answer.then((content) => this.#count(startedAt, content));
    }
    return this.#count(startedAt, answer);
  }

  #count<Answer extends Uint8Array | undefined>(startedAt: number, answer: Answer): Answer {
    if (answer !== undefined) {
      this.bytes += answer.length;
      this.waits.observe((performance.now() - startedAt) / 1000);
    }
    return answer;
  }
}

/** What a storage client has done since it was made. Bytes are those of blobs, uncompressed. */
export interface StorageStatistics {
  /** Whole blobs fetched from storage. */
  blobsFetched: number;
  /** Chunks of large blobs fetched from storage. */
  chunksFetched: number;
  /** Bytes of both. */
  bytesFetched: number;
  /** How many of the blobs were Directory messages. */
  directoriesFetched: number;
  directoryBytesFetched: number;
  /** Answers to read(), by where they came from. */
  memoryHits: number;
  diskHits: number;
  misses: number;
  memoryBytesRead: number;
  /** The same by how long they took; what others were fetching already counts as read from storage. */
  readonly diskReads: TierReads;
  readonly storageReads: TierReads;
  /** Answers to directory(), by whether they were in memory. */
  directoryHits: number;
  directoryMisses: number;
  /** Directories that were taken into the memory cache. */
  directoriesKept: number;
  /** Blobs whose content did not match their digest, from storage or from the local store. */
  corruptBlobs: number;
  blobsUploaded: number;
  bytesUploaded: number;
  /** Uploads that were spared, as storage had the blob. */
  uploadsSpared: number;
  bytesUploadSpared: number;
  /** What the caches hold now; of large blobs, each chunk counts. */
  memoryBytes: number;
  directoryCount: number;
  directoryBytes: number;
  diskBytes: number;
  diskBlobs: number;
  /** What the memory caches have dropped, for want of room. */
  memoryEvictions: number;
  directoryEvictions: number;
  /** Blocks of the local store that were begun, and given up with what they held. */
  diskBlocksBegun: number;
  diskBlocksGivenUp: number;
  diskBlobsEvicted: number;
  diskBytesEvicted: number;
  /** Milliseconds since the epoch: since when the block that was given up last was to go next. */
  lastGivenUpOldSince: number;
}

/** What a storage client's caches can hold. */
export interface StorageCapacity {
  readonly memoryBytes: number;
  readonly directoryCount: number;
  /** Of encoded messages. */
  readonly directoryBytes: number;
  /** With what entries need beside their content. */
  readonly diskBytes: number;
}

export function newStatistics(): StorageStatistics {
  return {
    blobsFetched: 0,
    chunksFetched: 0,
    bytesFetched: 0,
    directoriesFetched: 0,
    directoryBytesFetched: 0,
    memoryHits: 0,
    diskHits: 0,
    misses: 0,
    memoryBytesRead: 0,
    diskReads: new TierReads(),
    storageReads: new TierReads(),
    directoryHits: 0,
    directoryMisses: 0,
    directoriesKept: 0,
    corruptBlobs: 0,
    blobsUploaded: 0,
    bytesUploaded: 0,
    uploadsSpared: 0,
    bytesUploadSpared: 0,
    memoryBytes: 0,
    directoryCount: 0,
    directoryBytes: 0,
    diskBytes: 0,
    diskBlobs: 0,
    memoryEvictions: 0,
    directoryEvictions: 0,
    diskBlocksBegun: 0,
    diskBlocksGivenUp: 0,
    diskBlobsEvicted: 0,
    diskBytesEvicted: 0,
    lastGivenUpOldSince: 0,
  };
}
