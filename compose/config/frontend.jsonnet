// Where clients connect: storage, and the scheduler behind it.
local common = import 'common.libsonnet';

{
  grpcServers: [{ listenAddresses: [':8980'], authenticationPolicy: common.anyone }],
  schedulers: { '': { endpoint: {
    address: 'scheduler:8982',
    addMetadataJmespathExpression: {
      expression: '{"build.bazel.remote.execution.v2.requestmetadata-bin": incomingGRPCMetadata."build.bazel.remote.execution.v2.requestmetadata-bin"}',
    },
  } } },
  maximumMessageSizeBytes: common.maximumMessageSizeBytes,
  global: common.global('bb_frontend'),
  contentAddressableStorage: {
    backend: common.storage,
    getAuthorizer: common.anyone,
    putAuthorizer: common.anyone,
    findMissingAuthorizer: common.anyone,
  },
  actionCache: {
    backend: { completenessChecking: { backend: common.storage, maximumTotalTreeSizeBytes: 64 * 1024 * 1024 } },
    getAuthorizer: common.anyone,
    putAuthorizer: common.anyone,
  },
  executeAuthorizer: common.anyone,
}
