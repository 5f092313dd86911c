/** The server under test, in a process of its own: prints its port. With "uncounted", what counts its operations does nothing. */
import { MemoryFileSystem, NfsServer } from "../../src/nfs/index.ts";
import { OperationStatistics } from "../../src/nfs/statistics.ts";
import { expose } from "../../src/telemetry/metrics/exposition.ts";
import { Metrics } from "../../src/telemetry/metrics/metrics.ts";
import { observeNfs } from "../../src/worker/telemetry/nfs-metrics.ts";

class Uncounted extends OperationStatistics {
  override get timesNext(): boolean {
    return false;
  }

  override ended(): void {}
}

const server = new NfsServer({ fileSystem: new MemoryFileSystem() });
if (process.argv[2] === "uncounted") {
  Object.assign(NfsServer.contextOf(server), { statistics: new Uncounted() });
} else {
  const metrics = new Metrics();
  observeNfs(metrics, () => [server.statistics()]);
  const exposition = expose(metrics);
  setInterval(() => exposition.text(), 1000);
}
console.log(await server.listen());
