// What the programs agree on. Buildbarn's and ours read the same file.
local grpc(address) = { grpc: { client: { address: address } } };
{
  scheduler: { address: 'scheduler:8983' },
  storage: grpc('storage:8981'),
  browserUrl: 'http://localhost:7984',
  maximumMessageSizeBytes: 2 * 1024 * 1024,
  anyone: { allow: {} },
  // What actions must ask for.
  platform: { properties: [{ name: 'OSFamily', value: 'linux' }] },
  global(name): {
    diagnosticsHttpServer: {
      httpServers: [{ listenAddresses: [':9980'], authenticationPolicy: { allow: {} } }],
      enablePrometheus: true,
      enablePprof: true,
      enableActiveSpans: true,
    },
  },
}
