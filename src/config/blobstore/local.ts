import type { DiskCacheOptions } from "../../cas/cache/disk-cache.ts";
import type {
  LocalBlobAccessConfiguration,
  LocalBlobAccessConfiguration_BlocksOnBlockDevice,
} from "../../proto/gen/buildbarn/configuration/blobstore/blobstore_pb.ts";
import { type FolderSettings, folderSettings } from "../block-device.ts";
import { ConfigurationError } from "../error.ts";
import { type FieldPath, unsupported } from "../field-path.ts";
import { refuse } from "../refuse.ts";
import { positive } from "../values.ts";

export const DEFAULT_BLOB_CACHE_COUNT = 1_000_000;

/** What tunes Buildbarn's ring of blocks. */
const NO_BLOCKS = "the cache has a file for each blob, and evicts what was used least recently; remove it";
const NO_KEY_LOCATION_MAP = "the cache finds its blobs by their file names; remove it";

export function blobCache(configuration: LocalBlobAccessConfiguration, path: FieldPath): DiskCacheOptions {
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
