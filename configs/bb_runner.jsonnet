// Runs commands for the bb_worker that shares the volume /worker: this container mounts it with slave propagation
// (Kubernetes: mountPropagation HostToContainer), so that it sees what the worker mounts at /worker/build.
{
  buildDirectoryPath: '/worker/build',
  // Whoever reaches this socket can run commands as this user.
  grpcServers: [{
    listenPaths: ['/worker/runner'],
    authenticationPolicy: { allow: {} },
  }],
  // Input roots are whole operating systems. Without it, commands use the files of this container.
  chrootIntoInputRoot: true,
}
