// Commands run in this container's files. With chrootIntoInputRoot it would need root, SYS_CHROOT and SYS_ADMIN.
{
  buildDirectoryPath: '/worker/build',
  grpcServers: [{ listenPaths: ['/worker/runner'], authenticationPolicy: { allow: {} } }],
}
