import { isAbsolute, join } from "node:path";
import { durationMilliseconds } from "../config/duration.ts";
import { ConfigurationError } from "../config/error.ts";
import { grpcEndpoint } from "../config/grpc-client.ts";
import { requireSupportedFields } from "../config/supported-fields.ts";
import type { GrpcEndpoint } from "../grpc/endpoint.ts";
import type { NfsVersion } from "../mount/index.ts";
import type { Credentials } from "../nfs/file-system.ts";
import type { Platform } from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  type ApplicationConfiguration,
  ApplicationConfigurationSchema,
  type BuildDirectoryConfiguration,
  BuildDirectoryConfigurationSchema,
  type RunnerConfiguration,
  RunnerConfigurationSchema,
  type VirtualBuildDirectoryConfiguration,
  VirtualBuildDirectoryConfigurationSchema,
} from "../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import {
  type BlobAccessConfiguration,
  LocalBlobAccessConfigurationSchema,
} from "../proto/gen/buildbarn/configuration/blobstore/blobstore_pb.ts";
import {
  type CachingDirectoryFetcherConfiguration,
  CachingDirectoryFetcherConfigurationSchema,
} from "../proto/gen/buildbarn/configuration/cas/cas_pb.ts";
import type { FilePoolConfiguration } from "../proto/gen/buildbarn/configuration/filesystem/filesystem_pb.ts";
import {
  type MountConfiguration,
  NFSv4MountConfigurationSchema,
} from "../proto/gen/buildbarn/configuration/filesystem/virtual/virtual_pb.ts";
import type { MonetaryResourceUsage_Expense } from "../proto/gen/buildbarn/resourceusage/resourceusage_pb.ts";
import { type CharacterDevice, characterDevices } from "./action/device-nodes.ts";

/** What a worker's configuration file says, checked, in the units that the program uses. */
export interface WorkerConfiguration {
  readonly scheduler: GrpcEndpoint;
  readonly contentAddressableStorage: ConfiguredBackend;
  readonly actionCache: ConfiguredBackend;
  readonly blobCache: BlobCacheSettings;
  readonly browserUrl: string;
  readonly maximumMessageSizeBytes: number;
  readonly inputDownloadConcurrency: number;
  readonly outputUploadConcurrency: number;
  readonly directoryCache: DirectoryCacheSettings;
  readonly filePool: FilePoolSettings;
  readonly forceUploadTreesAndDirectories: boolean;
  readonly buildDirectories: readonly BuildDirectorySettings[];
}

/** A backend, and the path of its configuration for messages. */
export interface ConfiguredBackend {
  readonly configuration: BlobAccessConfiguration | undefined;
  readonly path: string;
}

/** The cache of blobs on a local disk. */
export interface BlobCacheSettings {
  readonly directory: string;
  readonly maximumSizeBytes: number;
  readonly maximumCount: number;
}

export interface DirectoryCacheSettings {
  readonly maximumCount: number;
  readonly maximumSizeBytes: number;
}

export interface FilePoolSettings {
  /** A folder on a local disk. */
  readonly path: string;
  readonly maximumSizeBytes: number;
}

export interface BuildDirectorySettings {
  readonly mountPath: string;
  readonly nfsVersion: NfsVersion;
  /** As nfs(5) spells them, without the version. */
  readonly mountOptions: readonly string[];
  readonly leaseSeconds: number;
  /** Milliseconds. */
  readonly maximumExecutionTimeoutCompensation: number;
  /** Milliseconds that the kernel may take to bring what an action wrote. */
  readonly maximumWritableFileUploadDelay: number;
  readonly runners: readonly RunnerSettings[];
}

export interface RunnerSettings {
  readonly endpoint: GrpcEndpoint;
  readonly concurrency: number;
  readonly instanceNamePrefix: string;
  readonly platform: Platform | undefined;
  readonly sizeClass: number;
  /** Per action; absent means without bound. */
  readonly maximumFilePoolFileCount: number | undefined;
  readonly maximumFilePoolSizeBytes: number | undefined;
  readonly workerId: Readonly<Record<string, string>>;
  readonly characterDevices: readonly CharacterDevice[];
  readonly costsPerSecond: Readonly<Record<string, MonetaryResourceUsage_Expense>>;
  readonly environmentVariables: Readonly<Record<string, string>>;
  readonly owner: Credentials;
}

const DEFAULT_LEASE_SECONDS = 60;
const DEFAULT_UPLOAD_DELAY = 60_000;
const DEFAULT_MAXIMUM_MESSAGE_SIZE_BYTES = 16 * 1024 * 1024;
const DEFAULT_CONCURRENCY = 10;
const DEFAULT_BLOB_CACHE_COUNT = 1_000_000;

/** Throws {@link ConfigurationError} naming the field that is missing, wrong or not supported. */
export function checkWorkerConfiguration(configuration: ApplicationConfiguration): WorkerConfiguration {
  requireSupportedFields(ApplicationConfigurationSchema, configuration, "", [
    "blobstore",
    "browserUrl",
    "maximumMessageSizeBytes",
    "scheduler",
    "global",
    "buildDirectories",
    "filePool",
    "outputUploadConcurrency",
    "inputDownloadConcurrency",
    "directoryCache",
    "forceUploadTreesAndDirectories",
  ]);
  const pool = filePool(configuration.filePool);
  return {
    scheduler: grpcEndpoint(configuration.scheduler, "scheduler"),
    ...contentAddressableStorage(configuration.blobstore?.contentAddressableStorage, pool),
    actionCache: {
      configuration: configuration.blobstore?.actionCache,
      path: "blobstore.actionCache",
    },
    browserUrl: browserUrl(configuration.browserUrl),
    maximumMessageSizeBytes: positive(
      configuration.maximumMessageSizeBytes,
      "maximumMessageSizeBytes",
      DEFAULT_MAXIMUM_MESSAGE_SIZE_BYTES,
    ),
    inputDownloadConcurrency: positive(
      configuration.inputDownloadConcurrency,
      "inputDownloadConcurrency",
      DEFAULT_CONCURRENCY,
    ),
    outputUploadConcurrency: positive(
      configuration.outputUploadConcurrency,
      "outputUploadConcurrency",
      DEFAULT_CONCURRENCY,
    ),
    directoryCache: directoryCache(configuration.directoryCache),
    filePool: pool,
    forceUploadTreesAndDirectories: configuration.forceUploadTreesAndDirectories,
    buildDirectories: nonEmpty(configuration.buildDirectories, "buildDirectories").map((directory, index) =>
      buildDirectory(directory, `buildDirectories[${index}]`),
    ),
  };
}

/**
 * Buildbarn's `readCaching` with a `local` backend as the fast one is what configures the blob cache. Without it
 * the cache lies beside the file pool, and may become as large.
 */
function contentAddressableStorage(
  configuration: BlobAccessConfiguration | undefined,
  pool: FilePoolSettings,
): Pick<WorkerConfiguration, "contentAddressableStorage" | "blobCache"> {
  const path = "blobstore.contentAddressableStorage";
  if (configuration?.backend.case !== "readCaching") {
    return {
      contentAddressableStorage: { configuration, path },
      blobCache: {
        directory: join(pool.path, "blobs"),
        maximumSizeBytes: pool.maximumSizeBytes,
        maximumCount: DEFAULT_BLOB_CACHE_COUNT,
      },
    };
  }
  const { slow, fast, replicator } = configuration.backend.value;
  if (replicator !== undefined && replicator.mode.case !== "local") {
    throw new ConfigurationError(`${path}.readCaching.replicator must be {"local": {}} or absent`);
  }
  return {
    contentAddressableStorage: { configuration: slow, path: `${path}.readCaching.slow` },
    blobCache: blobCache(fast, `${path}.readCaching.fast`),
  };
}

function blobCache(configuration: BlobAccessConfiguration | undefined, path: string): BlobCacheSettings {
  if (configuration?.backend.case !== "local") {
    throw new ConfigurationError(`${path}.local is missing: only a local cache is supported`);
  }
  const local = configuration.backend.value;
  requireSupportedFields(
    LocalBlobAccessConfigurationSchema,
    local,
    `${path}.local`,
    ["keyLocationMapInMemory", "blocksOnBlockDevice"],
    { persistent: "the cache always survives restarts; remove it" },
  );
  const file =
    local.blocksBackend.case === "blocksOnBlockDevice" ? local.blocksBackend.value.source?.source : undefined;
  if (file?.case !== "file" || file.value.path === "") {
    throw new ConfigurationError(
      `${path}.local.blocksOnBlockDevice.source.file.path is missing: give a folder on a local disk`,
    );
  }
  return {
    directory: file.value.path,
    maximumSizeBytes: positive(
      file.value.sizeBytes,
      `${path}.local.blocksOnBlockDevice.source.file.sizeBytes`,
    ),
    maximumCount:
      local.keyLocationMapBackend.case === "keyLocationMapInMemory"
        ? positive(local.keyLocationMapBackend.value.entries, `${path}.local.keyLocationMapInMemory.entries`)
        : DEFAULT_BLOB_CACHE_COUNT,
  };
}

function browserUrl(url: string): string {
  if (url !== "" && !URL.canParse(url)) {
    throw new ConfigurationError(`browserUrl: ${JSON.stringify(url)} is not a URL`);
  }
  return url;
}

function directoryCache(
  configuration: CachingDirectoryFetcherConfiguration | undefined,
): DirectoryCacheSettings {
  if (configuration === undefined) {
    return { maximumCount: 100_000, maximumSizeBytes: 64 * 1024 * 1024 };
  }
  const path = "directoryCache";
  // Every replacement policy is accepted: which entries stay is not visible but in speed.
  requireSupportedFields(CachingDirectoryFetcherConfigurationSchema, configuration, path, [
    "maximumCount",
    "maximumSizeBytes",
    "cacheReplacementPolicy",
  ]);
  return {
    maximumCount: positive(configuration.maximumCount, `${path}.maximumCount`),
    maximumSizeBytes: positive(configuration.maximumSizeBytes, `${path}.maximumSizeBytes`),
  };
}

function filePool(configuration: FilePoolConfiguration | undefined): FilePoolSettings {
  const device = configuration?.backend.value;
  const path = "filePool.blockDevice";
  if (device?.source.case !== "file" || device.source.value.path === "") {
    throw new ConfigurationError(
      `${path}.file.path is missing: give a folder on a local disk for the files that actions write`,
    );
  }
  if (device.writeConcurrencyLimit !== 0n) {
    throw new ConfigurationError(`${path}.writeConcurrencyLimit is not supported: remove it`);
  }
  return {
    path: device.source.value.path,
    maximumSizeBytes: positive(device.source.value.sizeBytes, `${path}.file.sizeBytes`),
  };
}

function buildDirectory(configuration: BuildDirectoryConfiguration, path: string): BuildDirectorySettings {
  requireSupportedFields(BuildDirectoryConfigurationSchema, configuration, path, ["virtual", "runners"], {
    native: "this worker has no native build directories; use virtual.mount.nfsv4, or Buildbarn's own worker",
  });
  if (configuration.backend.case !== "virtual") {
    throw new ConfigurationError(`${path}.virtual is missing: give a mount`);
  }
  const virtual = configuration.backend.value;
  return {
    ...mount(virtual.mount, `${path}.virtual.mount`),
    ...timing(virtual, `${path}.virtual`),
    runners: nonEmpty(configuration.runners, `${path}.runners`).map((runner, index) =>
      runnerSettings(runner, `${path}.runners[${index}]`),
    ),
  };
}

function timing(
  configuration: VirtualBuildDirectoryConfiguration,
  path: string,
): Pick<BuildDirectorySettings, "maximumExecutionTimeoutCompensation" | "maximumWritableFileUploadDelay"> {
  requireSupportedFields(VirtualBuildDirectoryConfigurationSchema, configuration, path, [
    "mount",
    "maximumExecutionTimeoutCompensation",
    "maximumWritableFileUploadDelay",
  ]);
  return {
    maximumExecutionTimeoutCompensation: durationMilliseconds(
      configuration.maximumExecutionTimeoutCompensation,
      `${path}.maximumExecutionTimeoutCompensation`,
      0,
    ),
    maximumWritableFileUploadDelay: durationMilliseconds(
      configuration.maximumWritableFileUploadDelay,
      `${path}.maximumWritableFileUploadDelay`,
      DEFAULT_UPLOAD_DELAY,
    ),
  };
}

function mount(
  configuration: MountConfiguration | undefined,
  path: string,
): Pick<BuildDirectorySettings, "mountPath" | "nfsVersion" | "mountOptions" | "leaseSeconds"> {
  const backend = configuration?.backend;
  if (configuration === undefined || backend?.case !== "nfsv4") {
    throw new ConfigurationError(
      backend?.case === undefined
        ? `${path}.nfsv4 is missing: give {"linux": {}} for the defaults`
        : `${path}.${backend.case} is not supported: use nfsv4`,
    );
  }
  if (!isAbsolute(configuration.mountPath)) {
    throw new ConfigurationError(`${path}.mountPath must be an absolute path`);
  }
  requireSupportedFields(
    NFSv4MountConfigurationSchema,
    backend.value,
    `${path}.nfsv4`,
    ["linux", "announcedLeaseTime", "enforcedLeaseTime"],
    { systemAuthentication: "it has no use in a worker; remove it" },
  );
  const { operatingSystem, announcedLeaseTime, enforcedLeaseTime } = backend.value;
  const announced = durationMilliseconds(
    announcedLeaseTime,
    `${path}.nfsv4.announcedLeaseTime`,
    DEFAULT_LEASE_SECONDS * 1000,
  );
  const enforced = durationMilliseconds(enforcedLeaseTime, `${path}.nfsv4.enforcedLeaseTime`, announced);
  if (enforced < announced) {
    throw new ConfigurationError(`${path}.nfsv4.enforcedLeaseTime is shorter than announcedLeaseTime`);
  }
  return {
    mountPath: configuration.mountPath,
    ...nfsOptions(
      operatingSystem.case === "linux" ? operatingSystem.value.mountOptions : [],
      `${path}.nfsv4.linux.mountOptions`,
    ),
    leaseSeconds: Math.max(1, Math.round(announced / 1000)),
  };
}

/** The server needs the version apart from the other options. It needs sessions, which 4.0 does not have. */
function nfsOptions(
  mountOptions: readonly string[],
  path: string,
): Pick<BuildDirectorySettings, "nfsVersion" | "mountOptions"> {
  const isVersion = (option: string): boolean => /^(nfs)?vers=/.test(option);
  const version = mountOptions.findLast(isVersion)?.split("=")[1] ?? "4.2";
  if (version !== "4.1" && version !== "4.2") {
    throw new ConfigurationError(`${path}: vers=${version} is not supported: give vers=4.1 or vers=4.2`);
  }
  return { nfsVersion: version, mountOptions: mountOptions.filter((option) => !isVersion(option)) };
}

function runnerSettings(configuration: RunnerConfiguration, path: string): RunnerSettings {
  requireSupportedFields(RunnerConfigurationSchema, configuration, path, [
    "endpoint",
    "concurrency",
    "instanceNamePrefix",
    "platform",
    "sizeClass",
    "maximumFilePoolFileCount",
    "maximumFilePoolSizeBytes",
    "workerId",
    "inputRootCharacterDeviceNodes",
    "costsPerSecond",
    "environmentVariables",
    "buildDirectoryOwnerUserId",
    "buildDirectoryOwnerGroupId",
  ]);
  const { platform, sizeClass, workerId, costsPerSecond, environmentVariables, instanceNamePrefix } =
    configuration;
  return {
    endpoint: grpcEndpoint(configuration.endpoint, `${path}.endpoint`),
    concurrency: positive(configuration.concurrency, `${path}.concurrency`),
    instanceNamePrefix,
    platform,
    sizeClass,
    maximumFilePoolFileCount: bound(configuration.maximumFilePoolFileCount),
    maximumFilePoolSizeBytes: bound(configuration.maximumFilePoolSizeBytes),
    workerId,
    characterDevices: deviceNodes(configuration.inputRootCharacterDeviceNodes, path),
    costsPerSecond,
    environmentVariables,
    owner: {
      userId: configuration.buildDirectoryOwnerUserId,
      groupId: configuration.buildDirectoryOwnerGroupId,
      supplementaryGroupIds: [],
    },
  };
}

function deviceNodes(names: readonly string[], path: string): CharacterDevice[] {
  try {
    return characterDevices(names);
  } catch (error) {
    throw new ConfigurationError(`${path}.${(error as Error).message}`, { cause: error });
  }
}

/** 0 stands for "as much as there is". */
function bound(value: bigint): number | undefined {
  return value === 0n ? undefined : Number(value);
}

function positive(value: bigint, path: string, fallback?: number): number {
  if (value === 0n && fallback !== undefined) {
    return fallback;
  }
  if (value <= 0n) {
    throw new ConfigurationError(`${path} must be above 0`);
  }
  return Number(value);
}

function nonEmpty<T>(list: readonly T[], path: string): readonly T[] {
  if (list.length === 0) {
    throw new ConfigurationError(`${path} is empty: give at least one`);
  }
  return list;
}
