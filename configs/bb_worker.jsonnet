// Takes actions from the scheduler and serves their input roots at /worker/build, for the bb_runner that shares the
// volume /worker: this container mounts it with shared propagation (Kubernetes: mountPropagation Bidirectional).
local common = import 'common.libsonnet';

local grpc = { grpc: { client: common.storage } };

{
  scheduler: common.scheduler,
  blobstore: {
    contentAddressableStorage: {
      readCaching: {
        slow: grpc,
        // A file that stays between runs, of this size, as a ring of blocks. It takes space as it fills.
        fast: { 'local': {
          oldBlocks: 8,
          currentBlocks: 24,
          newBlocks: 3,
          blocksOnBlockDevice: {
            source: { file: { path: '/worker/blobs', sizeBytes: 64e9 } },
            spareBlocks: 3,
            // For so long, a blob that was found to be right is not hashed again when it is read.
            dataIntegrityValidationCache: {
              cacheSize: 1000000,
              cacheDuration: '14400s',
              cacheReplacementPolicy: 'LEAST_RECENTLY_USED',
            },
          },
          keyLocationMapInMemory: { entries: 8000000 },
          keyLocationMapMaximumGetAttempts: 16,
          keyLocationMapMaximumPutAttempts: 64,
          persistent: { stateDirectoryPath: '/worker/blobs.state', minimumEpochInterval: '300s' },
        } },
      },
    },
    actionCache: grpc,
  },
  // bb_browser's, for links to the details of results.
  browserUrl: '',
  // A file on a local disk for what actions write, and the most bytes that all of them may write.
  filePool: { blockDevice: { file: { path: '/worker/pool', sizeBytes: 64e9 } } },
  directoryCache: {
    maximumCount: 100000,
    maximumSizeBytes: 128e6,
    cacheReplacementPolicy: 'LEAST_RECENTLY_USED',
  },
  outputUploadConcurrency: 16,
  maximumMessageSizeBytes: 16e6,
  buildDirectories: [{
    virtual: {
      mount: {
        mountPath: '/worker/build',
        // Added to the worker's own, as nfs(5) spells them.
        nfsv4: { linux: { mountOptions: [] } },
      },
      // While an action waits for storage, its timeout does not run, up to this long.
      maximumExecutionTimeoutCompensation: '3600s',
      maximumWritableFileUploadDelay: '60s',
    },
    runners: [{
      endpoint: { address: 'unix:///worker/runner' },
      // Actions at a time.
      concurrency: 8,
      platform: common.platform,
      workerId: { node: std.extVar('HOSTNAME') },
      // An action in its own root has no devices but these.
      inputRootCharacterDeviceNodes: ['full', 'null', 'random', 'tty', 'urandom', 'zero'],
      // What an action may write; with 0 nothing.
      maximumFilePoolFileCount: 1000000,
      maximumFilePoolSizeBytes: 64e9,
    }],
  }],
}
