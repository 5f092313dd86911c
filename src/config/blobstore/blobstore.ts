import { join } from "node:path";
import type { BlobBackend } from "../../cas/backend.ts";
import type { DiskCacheOptions } from "../../cas/cache/disk-cache.ts";
import type {
  BlobAccessConfiguration,
  BlobReplicatorConfiguration,
  BlobstoreConfiguration,
  LocalBlobAccessConfiguration,
  LocalBlobAccessConfiguration_BlocksOnBlockDevice,
} from "../../proto/gen/buildbarn/configuration/blobstore/blobstore_pb.ts";
import { type FolderSettings, folderSettings } from "../block-device.ts";
import { ConfigurationError } from "../error.ts";
import { all, type FieldPath, unsupported } from "../field-path.ts";
import { refuse } from "../refuse.ts";
import { positive } from "../values.ts";
import { blobBackend } from "./backend.ts";

/** Where a worker's blobs and action results are. */
export interface BlobstoreSettings {
  readonly contentAddressableStorage: BlobBackend;
  /** On a local disk. */
  readonly blobCache: DiskCacheOptions;
  readonly actionCache: BlobBackend;
}

const DEFAULT_BLOB_CACHE_COUNT = 1_000_000;

/**
 * A `readCaching` content-addressable storage with a `local` backend as the fast one configures the blob cache.
 * Without it the cache lies beside the file pool, and may become as large.
 */
export function blobstoreSettings(
  configuration: BlobstoreConfiguration | undefined,
  path: FieldPath,
  filePool: FolderSettings,
): BlobstoreSettings {
  if (configuration === undefined) {
    throw new ConfigurationError(`${path} is missing: give contentAddressableStorage and actionCache`);
  }
  const { contentAddressableStorage, actionCache, ...rest } = configuration;
  refuse(rest, path);
  const { storage, ...settings } = all({
    storage: () =>
      cachedStorage(contentAddressableStorage, path.field("contentAddressableStorage"), filePool),
    actionCache: () => blobBackend(actionCache, path.field("actionCache"), "actionCache"),
  });
  return { ...storage, ...settings };
}

function cachedStorage(
  configuration: BlobAccessConfiguration | undefined,
  path: FieldPath,
  filePool: FolderSettings,
): Pick<BlobstoreSettings, "contentAddressableStorage" | "blobCache"> {
  const storage = (backend: BlobAccessConfiguration | undefined, path: FieldPath) =>
    blobBackend(backend, path, "contentAddressableStorage");
  if (configuration?.backend.case !== "readCaching") {
    return {
      contentAddressableStorage: storage(configuration, path),
      blobCache: {
        directory: join(filePool.path, "blobs"),
        maximumSizeBytes: filePool.maximumSizeBytes,
        maximumCount: DEFAULT_BLOB_CACHE_COUNT,
      },
    };
  }
  const { slow, fast, replicator, ...rest } = configuration.backend.value;
  refuse(rest, path.field("readCaching"));
  if (replicator !== undefined) {
    localReplicator(replicator, path.field("readCaching.replicator"));
  }
  return {
    contentAddressableStorage: storage(slow, path.field("readCaching.slow")),
    blobCache: blobCache(fast, path.field("readCaching.fast")),
  };
}

/** Blobs are copied by this process, and always one copy of a blob at a time. */
function localReplicator(configuration: BlobReplicatorConfiguration | undefined, path: FieldPath): void {
  if (configuration?.mode.case === undefined) {
    throw new ConfigurationError(`${path} is empty: give {"local": {}}`);
  }
  const { mode, ...rest } = configuration;
  refuse(rest, path);
  switch (mode.case) {
    case "local":
      return;
    case "deduplicating":
      localReplicator(mode.value, path.field("deduplicating"));
      return;
    default:
      throw unsupported(path.field(mode.case), 'give {"local": {}}, or remove the replicator');
  }
}

function blobCache(configuration: BlobAccessConfiguration | undefined, path: FieldPath): DiskCacheOptions {
  if (configuration?.backend.case !== "local") {
    throw configuration?.backend.case === undefined
      ? new ConfigurationError(`${path}.local is missing: give blocksOnBlockDevice`)
      : unsupported(path.field(configuration.backend.case), "the blob cache must be local; give local");
  }
  const { backend, ...rest } = configuration;
  refuse(rest, path);
  return localBlobCache(backend.value, path.field("local"));
}

/** What tunes Buildbarn's ring of blocks. */
const NO_BLOCKS = "the cache has a file for each blob, and evicts what was used least recently; remove it";
const NO_KEY_LOCATION_MAP = "the cache finds its blobs by their file names; remove it";

function localBlobCache(configuration: LocalBlobAccessConfiguration, path: FieldPath): DiskCacheOptions {
  const { keyLocationMapBackend, blocksBackend, ...rest } = configuration;
  refuse(rest, path, {
    keyLocationMapMaximumGetAttempts: NO_KEY_LOCATION_MAP,
    keyLocationMapMaximumPutAttempts: NO_KEY_LOCATION_MAP,
    oldBlocks: NO_BLOCKS,
    currentBlocks: NO_BLOCKS,
    newBlocks: NO_BLOCKS,
    persistent: "the cache always survives restarts; remove it",
    hierarchicalInstanceNames: "the cache is the same for all instance names; remove it",
  });
  const maximumCount = blobCacheCount(keyLocationMapBackend, path);
  switch (blocksBackend.case) {
    case "blocksOnBlockDevice": {
      const { path: directory, maximumSizeBytes } = blobCacheFolder(
        blocksBackend.value,
        path.field("blocksOnBlockDevice"),
      );
      return { directory, maximumSizeBytes, maximumCount };
    }
    case "blocksInMemory":
      throw unsupported(path.field("blocksInMemory"), "give blocksOnBlockDevice, with a folder");
    case undefined:
      throw new ConfigurationError(`${path}.blocksOnBlockDevice is missing: give source.file, with a folder`);
  }
}

function blobCacheCount(
  backend: LocalBlobAccessConfiguration["keyLocationMapBackend"],
  path: FieldPath,
): number {
  switch (backend.case) {
    case undefined:
      return DEFAULT_BLOB_CACHE_COUNT;
    case "keyLocationMapInMemory": {
      const { entries, ...rest } = backend.value;
      refuse(rest, path.field("keyLocationMapInMemory"));
      return positive(entries, path.field("keyLocationMapInMemory.entries"));
    }
    case "keyLocationMapOnBlockDevice":
      throw unsupported(
        path.field("keyLocationMapOnBlockDevice"),
        "give keyLocationMapInMemory, whose entries limit how many blobs are kept, or remove it",
      );
  }
}

function blobCacheFolder(
  { source, ...rest }: LocalBlobAccessConfiguration_BlocksOnBlockDevice,
  path: FieldPath,
): FolderSettings {
  refuse(rest, path, {
    spareBlocks: NO_BLOCKS,
    dataIntegrityValidationCache:
      "blobs are hashed when they are fetched and after a restart, not at every read; remove it",
  });
  return folderSettings(source, path.field("source"), "the blob cache");
}
