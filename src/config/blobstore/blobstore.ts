import type { BlobBackend } from "../../cas/backend.ts";
import type { LocalStoreOptions } from "../../cas/local/options.ts";
import type {
  BlobAccessConfiguration,
  BlobReplicatorConfiguration,
  BlobstoreConfiguration,
} from "../../proto/gen/buildbarn/configuration/blobstore/blobstore_pb.ts";
import type { FolderSettings } from "../block-device.ts";
import { ConfigurationError } from "../error.ts";
import { refuse, unsupported } from "../refuse.ts";
import { blobBackend } from "./backend.ts";
import { defaultLocalStore, localStoreSettings } from "./local.ts";

/** Where a worker's blobs and action results are. */
export interface BlobstoreSettings {
  readonly contentAddressableStorage: BlobBackend;
  /** On a local disk. */
  readonly blobCache: LocalStoreOptions;
  readonly actionCache: BlobBackend;
}

/**
 * A `readCaching` content-addressable storage with a `local` backend as the fast one configures the blob cache.
 * Without it the cache lies beside the file pool, and may become as large.
 */
export function blobstoreSettings(
  configuration: BlobstoreConfiguration | undefined,
  path: string,
  filePool: FolderSettings,
): BlobstoreSettings {
  if (configuration === undefined) {
    throw new ConfigurationError(`${path} is missing: give contentAddressableStorage and actionCache`);
  }
  const { contentAddressableStorage, actionCache, ...rest } = configuration;
  refuse(rest, path);
  return {
    ...cachedStorage(contentAddressableStorage, `${path}.contentAddressableStorage`, filePool),
    actionCache: blobBackend(actionCache, `${path}.actionCache`, "actionCache"),
  };
}

function cachedStorage(
  configuration: BlobAccessConfiguration | undefined,
  path: string,
  filePool: FolderSettings,
): Pick<BlobstoreSettings, "contentAddressableStorage" | "blobCache"> {
  const storage = (backend: BlobAccessConfiguration | undefined, path: string) =>
    blobBackend(backend, path, "contentAddressableStorage");
  if (configuration?.backend.case !== "readCaching") {
    return {
      contentAddressableStorage: storage(configuration, path),
      blobCache: defaultLocalStore(filePool.path, filePool.maximumSizeBytes),
    };
  }
  const { slow, fast, replicator, ...rest } = configuration.backend.value;
  refuse(rest, `${path}.readCaching`);
  if (replicator !== undefined) {
    localReplicator(replicator, `${path}.readCaching.replicator`);
  }
  return {
    contentAddressableStorage: storage(slow, `${path}.readCaching.slow`),
    blobCache: blobCache(fast, `${path}.readCaching.fast`),
  };
}

/** Blobs are copied by this process, and always one copy of a blob at a time. */
function localReplicator(configuration: BlobReplicatorConfiguration | undefined, path: string): void {
  if (configuration?.mode.case === undefined) {
    throw new ConfigurationError(`${path} is empty: give {"local": {}}`);
  }
  const { mode, ...rest } = configuration;
  refuse(rest, path);
  switch (mode.case) {
    case "local":
      return;
    case "deduplicating":
      localReplicator(mode.value, `${path}.deduplicating`);
      return;
    default:
      throw unsupported(`${path}.${mode.case}`, 'give {"local": {}}, or remove the replicator');
  }
}

function blobCache(configuration: BlobAccessConfiguration | undefined, path: string): LocalStoreOptions {
  if (configuration?.backend.case !== "local") {
    throw configuration?.backend.case === undefined
      ? new ConfigurationError(`${path}.local is missing: give blocksOnBlockDevice`)
      : unsupported(`${path}.${configuration.backend.case}`, "the blob cache must be local; give local");
  }
  const { backend, ...rest } = configuration;
  refuse(rest, path);
  return localStoreSettings(backend.value, `${path}.local`);
}
