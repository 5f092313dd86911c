import type { DirectoryCacheOptions } from "../../cas/cache/directory-cache.ts";
import type { GrpcEndpoint } from "../../grpc/endpoint.ts";
import type { ApplicationConfiguration } from "../../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import type { CachingDirectoryFetcherConfiguration } from "../../proto/gen/buildbarn/configuration/cas/cas_pb.ts";
import type { FilePoolConfiguration } from "../../proto/gen/buildbarn/configuration/filesystem/filesystem_pb.ts";
import { type BlobstoreSettings, blobstoreSettings } from "../blobstore/blobstore.ts";
import { type BlockDeviceSettings, blockDeviceSettings } from "../block-device.ts";
import { ConfigurationError } from "../error.ts";
import { leastRecentlyUsed } from "../eviction.ts";
import { all, type DoneOtherwise, each, FieldPath } from "../field-path.ts";
import { type GlobalSettings, globalSettings } from "../global/global.ts";
import { grpcEndpoint } from "../network/grpc-client.ts";
import { accept, refuse } from "../refuse.ts";
import { nonEmpty, positive } from "../values.ts";
import { type BuildDirectorySettings, buildDirectorySettings } from "./build-directory.ts";
import {
  type CompletedActionLoggerSettings,
  completedActionLoggerSettings,
} from "./completed-action-logger.ts";
import { type HttpCompensatorSettings, httpCompensatorSettings } from "./http-compensator.ts";
import { type PrefetchingSettings, prefetchingSettings } from "./prefetching.ts";

/** What bb_worker's configuration says, checked, in the units that the program uses. */
export interface BbWorkerSettings extends BlobstoreSettings, GlobalSettings {
  readonly scheduler: GrpcEndpoint;
  readonly browserUrl: string;
  readonly maximumMessageSizeBytes: number;
  readonly outputUploadConcurrency: number;
  /** Batches of inputs that are fetched before an action reads them, or runs, in the whole process. */
  readonly inputDownloadConcurrency: number;
  readonly prefetching: PrefetchingSettings | undefined;
  readonly directoryCache: DirectoryCacheSettings;
  /** For what actions write to virtual build directories; absent means that they cannot write anything there. */
  readonly filePool: BlockDeviceSettings | undefined;
  readonly forceUploadTreesAndDirectories: boolean;
  readonly buildDirectories: readonly BuildDirectorySettings[];
  readonly completedActionLoggers: readonly CompletedActionLoggerSettings[];
  readonly httpExecutionTimeoutCompensators: readonly HttpCompensatorSettings[];
  /** What is configured and has no effect. */
  readonly doneOtherwise: readonly DoneOtherwise[];
}

type DirectoryCacheSettings = Omit<DirectoryCacheOptions, "maximumMessageSizeBytes">;

const DEFAULT_MAXIMUM_MESSAGE_SIZE_BYTES = 16 * 1024 * 1024;
const DEFAULT_CONCURRENCY = 10;
const DEFAULT_DIRECTORY_CACHE = { maximumCount: 100_000, maximumSizeBytes: 64 * 1024 * 1024 };

/** Throws {@link ConfigurationError} with every field that is missing, wrong or not supported. */
export function bbWorkerSettings(
  configuration: ApplicationConfiguration,
  root = FieldPath.root(),
): BbWorkerSettings {
  return root.settingsOf((path) => ({
    ...applicationSettings(configuration, path),
    doneOtherwise: path.doneOtherwise,
  }));
}

function applicationSettings(
  configuration: ApplicationConfiguration,
  path: FieldPath,
): Omit<BbWorkerSettings, "doneOtherwise"> {
  const {
    scheduler,
    blobstore,
    browserUrl,
    maximumMessageSizeBytes,
    outputUploadConcurrency,
    directoryCache,
    filePool: filePoolConfiguration,
    forceUploadTreesAndDirectories,
    buildDirectories,
    global,
    prefetching,
    inputDownloadConcurrency,
    completedActionLoggers,
    httpExecutionTimeoutCompensators,
    ...rest
  } = configuration;
  const others = accept(rest, path, {
    zstdPool: "Zstandard is Node's own, and runs in the threads that transfer blobs",
  });
  refuse(others, path);
  const isNative =
    buildDirectories.length > 0 && buildDirectories.every(({ backend }) => backend.case === "native");
  const {
    blobstoreSettings: storage,
    globals,
    ...settings
  } = all({
    scheduler: () => grpcEndpoint(scheduler, path.field("scheduler")),
    blobstoreSettings: () => {
      const filePool = filePoolSettings(filePoolConfiguration, path.field("filePool"));
      if (!isNative) {
        return { ...blobstoreSettings(blobstore, path.field("blobstore"), filePool), filePool };
      }
      if (filePool !== undefined) {
        path.field("filePool").otherwise("no build directory is virtual, so that nothing is written there");
      }
      return { ...blobstoreSettings(blobstore, path.field("blobstore"), "none"), filePool: undefined };
    },
    browserUrl: () => urlOrNone(browserUrl, path.field("browserUrl")),
    maximumMessageSizeBytes: () =>
      positive(
        maximumMessageSizeBytes,
        path.field("maximumMessageSizeBytes"),
        DEFAULT_MAXIMUM_MESSAGE_SIZE_BYTES,
      ),
    outputUploadConcurrency: () =>
      positive(outputUploadConcurrency, path.field("outputUploadConcurrency"), DEFAULT_CONCURRENCY),
    inputDownloadConcurrency: () =>
      positive(inputDownloadConcurrency, path.field("inputDownloadConcurrency"), DEFAULT_CONCURRENCY),
    prefetching: () => {
      if (prefetching !== undefined && isNative) {
        path
          .field("prefetching")
          .otherwise("no build directory is virtual: all of an input root is there before its command runs");
      }
      return prefetching && prefetchingSettings(prefetching, path.field("prefetching"));
    },
    directoryCache: () => directoryCacheSettings(directoryCache, path.field("directoryCache")),
    forceUploadTreesAndDirectories: () => forceUploadTreesAndDirectories,
    buildDirectories: () =>
      each(nonEmpty(buildDirectories, path.field("buildDirectories")), (directory, index) =>
        buildDirectorySettings(directory, path.field("buildDirectories").index(index)),
      ),
    completedActionLoggers: () =>
      each(completedActionLoggers, (logger, index) =>
        completedActionLoggerSettings(logger, path.field("completedActionLoggers").index(index)),
      ),
    httpExecutionTimeoutCompensators: () =>
      each(httpExecutionTimeoutCompensators, (compensator, index) =>
        httpCompensatorSettings(compensator, path.field("httpExecutionTimeoutCompensators").index(index)),
      ),
    globals: () => globalSettings(global, path.field("global")),
  });
  return { ...settings, ...storage, ...globals };
}

function urlOrNone(url: string, path: FieldPath): string {
  if (url !== "" && !URL.canParse(url)) {
    throw new ConfigurationError(
      `${path} is ${JSON.stringify(url)}: give a URL such as "http://bb-browser:7984", or leave it out`,
    );
  }
  return url;
}

function directoryCacheSettings(
  configuration: CachingDirectoryFetcherConfiguration | undefined,
  path: FieldPath,
): DirectoryCacheSettings {
  if (configuration === undefined) {
    return DEFAULT_DIRECTORY_CACHE;
  }
  const { maximumCount, maximumSizeBytes, cacheReplacementPolicy, ...rest } = configuration;
  refuse(rest, path);
  leastRecentlyUsed(cacheReplacementPolicy, path.field("cacheReplacementPolicy"));
  return {
    maximumCount: positive(maximumCount, path.field("maximumCount")),
    maximumSizeBytes: positive(maximumSizeBytes, path.field("maximumSizeBytes")),
  };
}

/** Undefined where actions cannot write anything. */
function filePoolSettings(
  configuration: FilePoolConfiguration | undefined,
  path: FieldPath,
): BlockDeviceSettings | undefined {
  if (configuration === undefined) {
    return undefined;
  }
  const { backend, ...rest } = configuration;
  refuse(rest, path);
  if (backend.case === undefined) {
    throw new ConfigurationError(`${path}.blockDevice is missing: give file, with a path and sizeBytes`);
  }
  return blockDeviceSettings(backend.value, path.field("blockDevice"));
}
