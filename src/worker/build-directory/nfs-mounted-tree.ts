import { waitAtMost } from "../../async/wait.ts";
import type { VirtualBuildDirectorySettings } from "../../config/bb-worker/build-directory.ts";
import { NetworkNamespace, NfsMount } from "../../mount/index.ts";
import { Gate, NfsServer } from "../../nfs/index.ts";
import type { Log } from "../../telemetry/log.ts";
import type { FileTree } from "../../vfs/index.ts";
import type { MountedTree } from "./build-directory-server.ts";

/**
 * How long, after the mount has left the tree, it is served for those who still use it, such as commands that are being
 * killed: when they end, the kernel has files to close. After that their calls fail.
 */
const LAST_USERS_MILLISECONDS = 20_000;

/**
 * Serves a tree by NFSv4, in a network namespace of its own, to nobody but the mount that is made here. When the process
 * dies without closing it, the mount's helper takes it out of the tree, and answers in its place.
 */
export async function mountByNfs(
  tree: FileTree,
  settings: VirtualBuildDirectorySettings,
  log: Log,
  signal?: AbortSignal,
): Promise<MountedTree> {
  const disconnected = Promise.withResolvers<Error>();
  const clientGone = Promise.withResolvers<void>();
  const { mountPath, mountOptions, nfsVersion: version } = settings;
  let closing = false;
  const gate = new Gate({
    onLost: () => {
      clientGone.resolve();
      if (closing) {
        return;
      }
      const why =
        "somebody has unmounted it, or the kernel's NFS client has lost its lease and can never use it again";
      disconnected.resolve(new Error(`${mountPath}: ${why}`));
    },
  });
  const server = new NfsServer({
    fileSystem: tree,
    gate,
    delegations: true,
    leaseSeconds: settings.announcedLeaseSeconds,
    enforcedLeaseSeconds: settings.enforcedLeaseSeconds,
    onFault: (error, operation) =>
      log.error("the build directory's file system failed", { operation, error }),
  });
  const served = new AsyncDisposableStack();
  try {
    served.defer(() => server.close());
    const network = served.use(NetworkNamespace.create());
    const listener = network.openTcpSocket();
    const port = await server.listen({ fd: listener });
    const standIn = {
      listener,
      async closeServer() {
        if (!(await waitAtMost(clientGone.promise, LAST_USERS_MILLISECONDS))) {
          log.warn("a process still uses the build directory: its system calls there fail from now on", {
            mountPath,
          });
        }
        await served.disposeAsync();
      },
    };
    const mount = await gate.open((name) =>
      NfsMount.mount(
        { network, port, standIn, serverPath: `/${name}`, mountPath, version, mountOptions },
        signal,
      ),
    );
    log.info("mounted a build directory", { mountPath, port, version, options: mount.optionsInForce() });
    return {
      lost: Promise.race([mount.lost, disconnected.promise]),
      sync: () => mount.sync(),
      refreshNames: () => mount.refresh(),
      statistics: () => server.statistics(),
      async close() {
        closing = true;
        try {
          await mount.unmount();
        } finally {
          await served.disposeAsync();
        }
      },
    };
  } catch (error) {
    await served.disposeAsync();
    throw error;
  }
}
