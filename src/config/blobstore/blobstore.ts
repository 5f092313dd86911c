import type { BlobBackend } from "../../cas/backend.ts";
import type { LocalStoreOptions } from "../../cas/local/options.ts";
import type {
  BlobAccessConfiguration,
  BlobstoreConfiguration,
} from "../../proto/gen/buildbarn/configuration/blobstore/blobstore_pb.ts";
import type { BlockDeviceSettings } from "../block-device.ts";
import { ConfigurationError } from "../error.ts";
import { all, type FieldPath } from "../field-path.ts";
import { refuse } from "../refuse.ts";
import { blobBackend } from "./backend.ts";
import { defaultLocalStore, smallMemoryStore } from "./local.ts";

/** Where a worker's blobs and action results are. */
export interface BlobstoreSettings {
  readonly contentAddressableStorage: BlobBackend;
  /** On a local disk; in memory where nothing needs it. */
  readonly blobCache: LocalStoreOptions;
  readonly actionCache: BlobBackend;
}

/**
 * A `readCaching` within the content-addressable storage with a `local` backend as the fast one configures the blob cache.
 * Without it the cache lies beside the file pool, and may become as large; or there is none on the disk, if `filePool` is
 * "none" as all input files are kept otherwise.
 */
export function blobstoreSettings(
  configuration: BlobstoreConfiguration | undefined,
  path: FieldPath,
  filePool: BlockDeviceSettings | undefined | "none",
): BlobstoreSettings {
  if (configuration === undefined) {
    throw new ConfigurationError(`${path} is missing: give contentAddressableStorage and actionCache`);
  }
  const { contentAddressableStorage, actionCache, ...rest } = configuration;
  refuse(rest, path);
  const { storage, ...settings } = all({
    storage: () =>
      cachedStorage(contentAddressableStorage, path.field("contentAddressableStorage"), filePool),
    actionCache: () => blobBackend(actionCache, path.field("actionCache"), "actionCache").backend,
  });
  return { ...storage, ...settings };
}

function cachedStorage(
  configuration: BlobAccessConfiguration | undefined,
  path: FieldPath,
  filePool: BlockDeviceSettings | undefined | "none",
): Pick<BlobstoreSettings, "contentAddressableStorage" | "blobCache"> {
  const { backend, blobCache } = blobBackend(configuration, path, "contentAddressableStorage");
  return {
    contentAddressableStorage: backend,
    blobCache: blobCache ?? cacheBeside(filePool, path),
  };
}

function cacheBeside(filePool: BlockDeviceSettings | undefined | "none", path: FieldPath): LocalStoreOptions {
  if (filePool === "none") {
    return smallMemoryStore();
  }
  if (filePool?.maximumSizeBytes === undefined) {
    const cause = filePool ? "filePool.blockDevice has a devicePath" : "filePool is missing";
    throw new ConfigurationError(
      `${cause}, so that there is no file beside which the blob cache could lie: ` +
        `make ${path} a readCaching, with a local backend as the fast one, or give filePool.blockDevice.file`,
    );
  }
  return defaultLocalStore(`${filePool.path}.blobs`, filePool.maximumSizeBytes);
}
