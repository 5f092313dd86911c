/** Program: storage and scheduler, apart from everything that uses them. Arguments: FOLDER CLIENTS WORKERS, the last
 * two being addresses. Says "ready" on stderr. */
import { ClusterServer } from "../../src/cluster/server.ts";

const [folder, listen, listenForWorkers] = process.argv.slice(2);
await ClusterServer.start({
  folder: folder!,
  listen: listen!,
  listenForWorkers: listenForWorkers!,
  // On a busy machine a worker that was killed may need minutes to come back.
  scheduler: { startupGrace: 900_000 },
});
console.error("ready");
