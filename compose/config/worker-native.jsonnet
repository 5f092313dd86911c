// configs/bb_worker_native.jsonnet, for the services of hard-linking.yml.
local common = import 'common.libsonnet';

{
  scheduler: common.scheduler,
  blobstore: { contentAddressableStorage: common.storage, actionCache: common.storage },
  browserUrl: common.browserUrl,
  maximumMessageSizeBytes: common.maximumMessageSizeBytes,
  // The runner's commands write to what the worker makes.
  global: common.global('bb_worker') + { setUmask: { umask: 0 } },
  directoryCache: { maximumCount: 100000, maximumSizeBytes: 128e6, cacheReplacementPolicy: 'LEAST_RECENTLY_USED' },
  inputDownloadConcurrency: 10,
  outputUploadConcurrency: 16,
  buildDirectories: [{
    native: {
      buildDirectoryPath: '/worker/build',
      cacheDirectoryPath: '/worker/cache',
      maximumCacheFileCount: 100000,
      maximumCacheSizeBytes: 8e9,
      cacheReplacementPolicy: 'LEAST_RECENTLY_USED',
    },
    runners: [{
      endpoint: { address: 'unix:///worker/runner' },
      concurrency: 4,
      platform: common.platform,
      workerId: { container: std.extVar('HOSTNAME') },
    }],
  }],
}
