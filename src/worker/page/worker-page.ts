import type { StorageClient } from "../../cas/storage-client.ts";
import type { StatusPage } from "../../telemetry/page/status-page.ts";
import type { FilePool } from "../../vfs/index.ts";
import type { WorkerWatch } from "../telemetry/worker-watch.ts";
import { cachesContent } from "./caches.ts";
import { endedActionsContent } from "./ended-actions.ts";
import { mountsContent } from "./mounts.ts";
import { nfsContent } from "./nfs.ts";
import { runnersContent } from "./runners.ts";
import { runningActionsContent } from "./running-actions.ts";

/** What bb_worker shows of itself. It reads what is counted anyway, when somebody looks. */
export function workerPage(
  { runningActions, mounts, nativeDirectories, runners }: WorkerWatch,
  storage: Pick<StorageClient, "origin" | "statistics" | "capacity">,
  pool: Pick<FilePool, "space">,
  slots: number,
): StatusPage {
  return {
    program: "bb_worker",
    sections: [
      {
        id: "running",
        title: "Running actions",
        content: () =>
          runningActionsContent([...runningActions.all], slots, (digest) => storage.origin(digest)),
      },
      { id: "ended", title: "Ended lately", content: () => endedActionsContent(runningActions.ended) },
      {
        id: "mounts",
        title: "Build directories",
        content: () => mountsContent(mounts, nativeDirectories),
      },
      { id: "runners", title: "Runners", content: () => runnersContent(runners) },
      {
        id: "caches",
        title: "Caches",
        content: () =>
          cachesContent(
            storage.statistics(),
            storage.capacity,
            pool.space(),
            nativeDirectories.map(({ cache }) => cache),
          ),
      },
      {
        id: "nfs",
        title: "NFS operations",
        content: () => nfsContent(mounts.map((mount) => mount.statistics())),
      },
    ],
  };
}
