/** Program: storage and scheduler, apart from everything that uses them. Arguments: FOLDER CLIENTS WORKERS, the last
 * two being addresses. Says "ready" on stderr. */
import { ClusterServer } from "../../src/cluster/server.ts";

const [folder, listen, listenForWorkers] = process.argv.slice(2);
await ClusterServer.start({ folder: folder!, listen: listen!, listenForWorkers: listenForWorkers! });
console.error("ready");
