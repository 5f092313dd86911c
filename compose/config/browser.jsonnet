// Shows actions, commands, trees and results.
local common = import 'common.libsonnet';

{
  blobstore: { contentAddressableStorage: common.storage, actionCache: common.storage },
  fileSystemAccessCache: common.storage,
  maximumMessageSizeBytes: common.maximumMessageSizeBytes,
  httpServers: [{ listenAddresses: [':7984'], authenticationPolicy: common.anyone }],
  global: common.global('bb_browser'),
  authorizer: common.anyone,
  requestMetadataLinksJmespathExpression: { expression: '`{}`' },
}
