// Buildbarn's storage: blobs in rings of blocks in files, for a laptop or a small team.
local common = import 'common.libsonnet';

local store(name, sizeBytes, newBlocks) = {
  'local': {
    keyLocationMapOnBlockDevice: { file: { path: '/storage/%s/map' % name, sizeBytes: std.floor(sizeBytes / 80) } },
    keyLocationMapMaximumGetAttempts: 16,
    keyLocationMapMaximumPutAttempts: 64,
    oldBlocks: 8,
    currentBlocks: 24,
    newBlocks: newBlocks,
    blocksOnBlockDevice: {
      source: { file: { path: '/storage/%s/blocks' % name, sizeBytes: sizeBytes } },
      spareBlocks: 3,
    },
    persistent: { stateDirectoryPath: '/storage/%s/persistent_state' % name, minimumEpochInterval: '300s' },
  },
};

{
  grpcServers: [{ listenAddresses: [':8981'], authenticationPolicy: common.anyone }],
  maximumMessageSizeBytes: common.maximumMessageSizeBytes,
  global: common.global('bb_storage'),
  contentAddressableStorage: {
    backend: store('cas', 32 * 1024 * 1024 * 1024, 3),
    getAuthorizer: common.anyone,
    putAuthorizer: common.anyone,
    findMissingAuthorizer: common.anyone,
  },
  actionCache: {
    backend: store('ac', 80 * 1024 * 1024, 1),
    getAuthorizer: common.anyone,
    putAuthorizer: common.anyone,
  },
  fileSystemAccessCache: {
    backend: store('fsac', 80 * 1024 * 1024, 1),
    getAuthorizer: common.anyone,
    putAuthorizer: common.anyone,
  },
}
