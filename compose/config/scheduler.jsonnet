// Buildbarn's scheduler: one queue for each platform and instance name.
local common = import 'common.libsonnet';

{
  adminHttpServers: [{ listenAddresses: [':7982'], authenticationPolicy: common.anyone }],
  clientGrpcServers: [{ listenAddresses: [':8982'], authenticationPolicy: common.anyone }],
  workerGrpcServers: [{ listenAddresses: [':8983'], authenticationPolicy: common.anyone }],
  browserUrl: common.browserUrl,
  contentAddressableStorage: common.storage,
  maximumMessageSizeBytes: common.maximumMessageSizeBytes,
  global: common.global('bb_scheduler'),
  executeAuthorizer: common.anyone,
  modifyDrainsAuthorizer: common.anyone,
  killOperationsAuthorizer: common.anyone,
  synchronizeAuthorizer: common.anyone,
  actionRouter: { simple: {
    platformKeyExtractor: { action: {} },
    invocationKeyExtractors: [{ correlatedInvocationsId: {} }, { toolInvocationId: {} }],
    initialSizeClassAnalyzer: { defaultExecutionTimeout: '1800s', maximumExecutionTimeout: '7200s' },
  } },
  platformQueueWithNoWorkersTimeout: '900s',
}
