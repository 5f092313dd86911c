import type { DirectoryCacheOptions } from "../../cas/cache/directory-cache.ts";
import type { GrpcEndpoint } from "../../grpc/endpoint.ts";
import type { ApplicationConfiguration } from "../../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import type { CachingDirectoryFetcherConfiguration } from "../../proto/gen/buildbarn/configuration/cas/cas_pb.ts";
import type { FilePoolConfiguration } from "../../proto/gen/buildbarn/configuration/filesystem/filesystem_pb.ts";
import type { Configuration as GlobalConfiguration } from "../../proto/gen/buildbarn/configuration/global/global_pb.ts";
import { type BlobstoreSettings, blobstoreSettings } from "../blobstore/blobstore.ts";
import { type FolderSettings, folderSettings } from "../block-device.ts";
import { ConfigurationError } from "../error.ts";
import { leastRecentlyUsed } from "../eviction.ts";
import { globalSettings } from "../global.ts";
import { grpcEndpoint } from "../grpc-client.ts";
import { refuse, unsupported } from "../refuse.ts";
import { nonEmpty, positive } from "../values.ts";
import { type BuildDirectorySettings, buildDirectorySettings } from "./build-directory.ts";
import { type PrefetchingSettings, prefetchingSettings } from "./prefetching.ts";

/** What bb_worker's configuration says, checked, in the units that the program uses. */
export interface BbWorkerSettings extends BlobstoreSettings {
  readonly scheduler: GrpcEndpoint;
  readonly browserUrl: string;
  readonly maximumMessageSizeBytes: number;
  readonly outputUploadConcurrency: number;
  /** Batches of inputs that are fetched before an action reads them, in the whole process. */
  readonly inputDownloadConcurrency: number;
  readonly prefetching: PrefetchingSettings | undefined;
  readonly directoryCache: DirectoryCacheSettings;
  readonly filePool: FolderSettings;
  readonly forceUploadTreesAndDirectories: boolean;
  readonly buildDirectories: readonly BuildDirectorySettings[];
  readonly umask: number | undefined;
}

type DirectoryCacheSettings = Omit<DirectoryCacheOptions, "maximumMessageSizeBytes">;

const DEFAULT_MAXIMUM_MESSAGE_SIZE_BYTES = 16 * 1024 * 1024;
const DEFAULT_CONCURRENCY = 10;
const DEFAULT_DIRECTORY_CACHE = { maximumCount: 100_000, maximumSizeBytes: 64 * 1024 * 1024 };

/** Throws {@link ConfigurationError} naming the field that is missing, wrong or not supported. */
export function bbWorkerSettings(configuration: ApplicationConfiguration): BbWorkerSettings {
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
    ...rest
  } = configuration;
  refuse(rest, "", {
    completedActionLoggers: "completed actions are not sent to loggers; remove it",
    httpExecutionTimeoutCompensators:
      "only waiting for storage extends timeouts, up to maximumExecutionTimeoutCompensation; remove it",
    zstdPool: "it tunes Go's Zstandard library; remove it",
  });
  const filePool = filePoolSettings(filePoolConfiguration, "filePool");
  return {
    scheduler: grpcEndpoint(scheduler, "scheduler"),
    ...blobstoreSettings(blobstore, "blobstore", filePool),
    browserUrl: urlOrNone(browserUrl, "browserUrl"),
    maximumMessageSizeBytes: positive(
      maximumMessageSizeBytes,
      "maximumMessageSizeBytes",
      DEFAULT_MAXIMUM_MESSAGE_SIZE_BYTES,
    ),
    outputUploadConcurrency: positive(
      outputUploadConcurrency,
      "outputUploadConcurrency",
      DEFAULT_CONCURRENCY,
    ),
    inputDownloadConcurrency: positive(
      inputDownloadConcurrency,
      "inputDownloadConcurrency",
      DEFAULT_CONCURRENCY,
    ),
    prefetching: prefetching && prefetchingSettings(prefetching, "prefetching"),
    directoryCache: directoryCacheSettings(directoryCache, "directoryCache"),
    filePool,
    forceUploadTreesAndDirectories,
    buildDirectories: nonEmpty(buildDirectories, "buildDirectories").map((directory, index) =>
      buildDirectorySettings(directory, `buildDirectories[${index}]`),
    ),
    umask: umaskOf(global, "global"),
  };
}

function urlOrNone(url: string, path: string): string {
  if (url !== "" && !URL.canParse(url)) {
    throw new ConfigurationError(
      `${path} is ${JSON.stringify(url)}: give a URL such as "http://bb-browser:7984", or leave it out`,
    );
  }
  return url;
}

function directoryCacheSettings(
  configuration: CachingDirectoryFetcherConfiguration | undefined,
  path: string,
): DirectoryCacheSettings {
  if (configuration === undefined) {
    return DEFAULT_DIRECTORY_CACHE;
  }
  const { maximumCount, maximumSizeBytes, cacheReplacementPolicy, ...rest } = configuration;
  refuse(rest, path);
  leastRecentlyUsed(cacheReplacementPolicy, `${path}.cacheReplacementPolicy`);
  return {
    maximumCount: positive(maximumCount, `${path}.maximumCount`),
    maximumSizeBytes: positive(maximumSizeBytes, `${path}.maximumSizeBytes`),
  };
}

function filePoolSettings(configuration: FilePoolConfiguration | undefined, path: string): FolderSettings {
  const purpose = "the files that actions write";
  if (configuration?.backend.case === undefined) {
    throw new ConfigurationError(`${path}.blockDevice is missing: give file, with a folder for ${purpose}`);
  }
  const { backend, ...rest } = configuration;
  refuse(rest, path);
  return folderSettings(backend.value, `${path}.blockDevice`, purpose);
}

function umaskOf(configuration: GlobalConfiguration | undefined, path: string): number | undefined {
  const { umask, resourceLimits } = globalSettings(configuration, path);
  if (resourceLimits.length > 0) {
    throw unsupported(
      `${path}.setResourceLimits`,
      "set the limits where the process is started (ulimit, LimitNOFILE=, docker run --ulimit)",
    );
  }
  return umask;
}
