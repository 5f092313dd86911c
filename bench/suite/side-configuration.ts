import { join } from "node:path";
import type { SideDefinition } from "./sides.ts";

export interface SidePlaces {
  /** The side's own folder. */
  readonly folder: string;
  /** Sockets of the scheduler, and of the storage for the CAS. */
  readonly scheduler: string;
  readonly storage: string;
  /** The socket of the File System Access Cache. */
  readonly accessProfiles: string;
  /** How many actions run at the same time. */
  readonly concurrency: number;
}

const MIB = 1024 * 1024;

/**
 * The configuration of a side's worker, in the shape of bb-deployments' files, for Buildbarn's worker and ours alike:
 * lazy ones keep what they fetched in a local store, others in the folder that they link from.
 */
export function workerConfiguration(side: SideDefinition, places: SidePlaces): object {
  const { folder, scheduler, storage, concurrency } = places;
  const remote = { grpc: { client: { address: `unix:${storage}` } } };
  const isLazy = side.buildDirectory !== "hard-links";
  return {
    blobstore: {
      actionCache: { grpc: { client: { address: `unix:${scheduler}` } } },
      contentAddressableStorage: isLazy
        ? {
            readCaching: {
              slow: remote,
              fast: localStore(folder),
              replicator: { deduplicating: { local: {} } },
            },
          }
        : remote,
    },
    browserUrl: "http://localhost/",
    maximumMessageSizeBytes: 4 * MIB,
    scheduler: { address: `unix:${scheduler}` },
    buildDirectories: [
      {
        ...buildDirectory(side, folder),
        runners: [
          {
            endpoint: { address: `unix:${runnerSocket(folder)}` },
            concurrency,
            platform: platformOf(side),
            workerId: { side: side.name },
            ...(isLazy
              ? {
                  maximumFilePoolFileCount: 1_000_000,
                  maximumFilePoolSizeBytes: 4096 * MIB,
                  inputRootCharacterDeviceNodes: ["null", "zero", "urandom"],
                }
              : {}),
          },
        ],
      },
    ],
    filePool: { blockDevice: { file: { path: join(folder, "pool"), sizeBytes: 4096 * MIB } } },
    inputDownloadConcurrency: 10,
    outputUploadConcurrency: 11,
    directoryCache: {
      maximumCount: 100_000,
      maximumSizeBytes: 64 * MIB,
      cacheReplacementPolicy: "LEAST_RECENTLY_USED",
    },
    ...(side.prefetching
      ? {
          prefetching: {
            fileSystemAccessCache: { grpc: { client: { address: `unix:${places.accessProfiles}` } } },
            bloomFilterBitsPerPath: 14,
            bloomFilterMaximumSizeBytes: 65_536,
          },
        }
      : {}),
  };
}

export function runnerConfiguration(folder: string): object {
  return {
    buildDirectoryPath: buildPath(folder),
    grpcServers: [{ listenPaths: [runnerSocket(folder)], authenticationPolicy: { allow: {} } }],
    chrootIntoInputRoot: true,
  };
}

export function platformOf({ name }: SideDefinition): { properties: { name: string; value: string }[] } {
  return { properties: [{ name: "side", value: name }] };
}

/** Where build directories are. */
export function buildPath(folder: string): string {
  return join(folder, "build");
}

/** What a side has to forget to be cold. */
export function cachePaths(folder: string): string[] {
  return ["store", "links", "pool"].map((name) => join(folder, name));
}

export function runnerSocket(folder: string): string {
  return join(folder, "runner");
}

function buildDirectory({ buildDirectory }: SideDefinition, folder: string): object {
  if (buildDirectory === "hard-links") {
    return {
      native: {
        buildDirectoryPath: buildPath(folder),
        cacheDirectoryPath: join(folder, "links"),
        maximumCacheFileCount: 2_000_000,
        maximumCacheSizeBytes: 4096 * MIB,
        cacheReplacementPolicy: "LEAST_RECENTLY_USED",
      },
    };
  }
  const fuse = {
    directoryEntryValidity: "300s",
    inodeAttributeValidity: "300s",
    allowOther: true,
    mountMethod: "DIRECT",
  };
  const nfsv4 = { enforcedLeaseTime: "120s", announcedLeaseTime: "60s", linux: {} };
  return {
    virtual: {
      maximumExecutionTimeoutCompensation: "3600s",
      maximumWritableFileUploadDelay: "60s",
      mount: { mountPath: buildPath(folder), ...(buildDirectory === "fuse" ? { fuse } : { nfsv4 }) },
    },
  };
}

function localStore(folder: string): object {
  return {
    local: {
      keyLocationMapOnBlockDevice: {
        file: { path: join(folder, "store/key_location_map"), sizeBytes: 32 * MIB },
      },
      keyLocationMapMaximumGetAttempts: 16,
      keyLocationMapMaximumPutAttempts: 64,
      oldBlocks: 8,
      currentBlocks: 24,
      newBlocks: 3,
      blocksOnBlockDevice: {
        source: { file: { path: join(folder, "store/blocks"), sizeBytes: 3072 * MIB } },
        spareBlocks: 3,
        dataIntegrityValidationCache: {
          cacheSize: 50_000,
          cacheDuration: "14400s",
          cacheReplacementPolicy: "LEAST_RECENTLY_USED",
        },
      },
    },
  };
}
