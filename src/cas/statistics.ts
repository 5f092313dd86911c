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
  /** Answers to directory(), by whether they were in memory. */
  directoryHits: number;
  directoryMisses: number;
  /** Blobs whose content did not match their digest, from storage or from the local store. */
  corruptBlobs: number;
  blobsUploaded: number;
  bytesUploaded: number;
  /** Uploads that were spared, as storage had the blob. */
  uploadsSpared: number;
  bytesUploadSpared: number;
  /** What the caches hold now; of large blobs, each chunk counts. */
  memoryBytes: number;
  diskBytes: number;
  diskBlobs: number;
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
    directoryHits: 0,
    directoryMisses: 0,
    corruptBlobs: 0,
    blobsUploaded: 0,
    bytesUploaded: 0,
    uploadsSpared: 0,
    bytesUploadSpared: 0,
    memoryBytes: 0,
    diskBytes: 0,
    diskBlobs: 0,
  };
}
