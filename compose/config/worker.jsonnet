// configs/bb_worker.jsonnet, for the services of docker-compose.yml.
local common = import 'common.libsonnet';

{
  scheduler: common.scheduler,
  blobstore: {
    contentAddressableStorage: { readCaching: { slow: common.storage, fast: { 'local': {
      oldBlocks: 8,
      currentBlocks: 24,
      newBlocks: 3,
      blocksOnBlockDevice: {
        source: { file: { path: '/cache/blobs', sizeBytes: 16e9 } },
        spareBlocks: 3,
        dataIntegrityValidationCache: {
          cacheSize: 100000,
          cacheDuration: '14400s',
          cacheReplacementPolicy: 'LEAST_RECENTLY_USED',
        },
      },
      keyLocationMapInMemory: { entries: 1000000 },
      keyLocationMapMaximumGetAttempts: 16,
      keyLocationMapMaximumPutAttempts: 64,
      persistent: { stateDirectoryPath: '/cache/blobs.state', minimumEpochInterval: '300s' },
    } } } },
    actionCache: common.storage,
  },
  browserUrl: common.browserUrl,
  maximumMessageSizeBytes: common.maximumMessageSizeBytes,
  global: common.global('bb_worker'),
  filePool: { blockDevice: { file: { path: '/cache/pool', sizeBytes: 16e9 } } },
  directoryCache: { maximumCount: 100000, maximumSizeBytes: 128e6, cacheReplacementPolicy: 'LEAST_RECENTLY_USED' },
  outputUploadConcurrency: 16,
  buildDirectories: [{
    virtual: {
      mount: { mountPath: '/worker/build', nfsv4: { linux: { mountOptions: [] } } },
      maximumExecutionTimeoutCompensation: '3600s',
      maximumWritableFileUploadDelay: '60s',
    },
    runners: [{
      endpoint: { address: 'unix:///worker/runner' },
      concurrency: 4,
      platform: common.platform,
      workerId: { container: std.extVar('HOSTNAME') },
      maximumFilePoolFileCount: 100000,
      maximumFilePoolSizeBytes: 4e9,
      // The runner's user, so that its commands can write.
      buildDirectoryOwnerUserId: 65534,
      buildDirectoryOwnerGroupId: 65534,
    }],
  }],
}
