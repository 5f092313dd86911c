import { CHROOT_PROPERTY, type Cluster, startCluster } from "../src/cluster/cluster.ts";
import { openChannel } from "../src/grpc/endpoint.ts";
import { ExecutionClient } from "./demo/execution-client.ts";

/** A cluster that runs one action at a time, chrooted into its input root, and a client of it. */
export interface ChrootedCluster extends AsyncDisposable {
  readonly cluster: Cluster;
  readonly client: ExecutionClient;
}

/** Starts the cluster on this kernel, with the blobs that are in `folder`. */
export async function startChrootedCluster(folder: string): Promise<ChrootedCluster> {
  await using resources = new AsyncDisposableStack();
  const cluster = resources.use(
    await startCluster({
      folder,
      listen: "localhost:0",
      kernel: "this",
      pools: [
        {
          name: "chroot",
          concurrency: 1,
          platform: { properties: [CHROOT_PROPERTY] },
          chrootIntoInputRoot: true,
        },
      ],
    }),
  );
  const channel = resources.adopt(openChannel({ address: cluster.address }), (channel) => channel.close());
  const client = new ExecutionClient(cluster.storage, channel, [CHROOT_PROPERTY]);
  const owned = resources.move();
  return { cluster, client, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
