// What several of a cluster's programs must agree on.
{
  scheduler: { address: 'scheduler:8983' },
  storage: { address: 'storage:8981' },
  // What actions ask for in `exec_properties`; all workers that can run an action have the same.
  platform: { properties: [{ name: 'OSFamily', value: 'linux' }] },
}
