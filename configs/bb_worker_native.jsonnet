// Takes actions from the scheduler and makes their input roots at /worker/build, of hard links to files in /worker/cache,
// for the bb_runner that shares the volume /worker. Needs neither root nor a mount: for pods that may have neither.
local common = import 'common.libsonnet';

local grpc = { grpc: { client: common.storage } };

{
  scheduler: common.scheduler,
  blobstore: { contentAddressableStorage: grpc, actionCache: grpc },
  // bb_browser's, for links to the details of results.
  browserUrl: '',
  directoryCache: {
    maximumCount: 100000,
    maximumSizeBytes: 128e6,
    cacheReplacementPolicy: 'LEAST_RECENTLY_USED',
  },
  // Downloads at a time: of a large file, or of many small ones together.
  inputDownloadConcurrency: 10,
  outputUploadConcurrency: 16,
  maximumMessageSizeBytes: 16e6,
  // So that a runner of another user can write to the directories that the worker makes.
  global: { setUmask: { umask: 0 } },
  buildDirectories: [{
    native: {
      // Both are on one disk. What lies in them goes: in the cache when the worker starts.
      buildDirectoryPath: '/worker/build',
      cacheDirectoryPath: '/worker/cache',
      maximumCacheFileCount: 500000,
      maximumCacheSizeBytes: 32e9,
      cacheReplacementPolicy: 'LEAST_RECENTLY_USED',
    },
    runners: [{
      endpoint: { address: 'unix:///worker/runner' },
      // Actions at a time.
      concurrency: 8,
      platform: common.platform,
      workerId: { node: std.extVar('HOSTNAME') },
    }],
  }],
}
