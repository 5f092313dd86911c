import { setTimeout as delay } from "node:timers/promises";
import type { Random } from "../kernel/random.ts";
import type { ChaosCluster, PartName } from "./chaos-cluster.ts";

export interface Fault {
  readonly name: string;
  /** Does harm, and mends what an operator's supervisor would mend. Resolves when that is done. */
  cause(cluster: ChaosCluster, random: Random): Promise<void>;
}

/** All kinds of faults, each as likely as the others. */
export const FAULTS: readonly Fault[] = [
  { name: "worker killed", cause: (cluster) => endAndRestart(cluster, "worker", "SIGKILL") },
  {
    name: "worker stopped",
    cause: (cluster) => endAndRestart(cluster, "worker", "SIGTERM", 0),
  },
  { name: "runner killed", cause: (cluster) => endAndRestart(cluster, "runner", "SIGKILL") },
  { name: "runner stopped", cause: (cluster) => endAndRestart(cluster, "runner", "SIGTERM", 0) },
  {
    name: "storage and scheduler killed",
    cause: (cluster) => endAndRestart(cluster, "storage and scheduler", "SIGKILL"),
  },
  {
    name: "storage and scheduler silent",
    async cause(cluster, random) {
      const server = cluster.part("storage and scheduler").process;
      server.kill("SIGSTOP");
      await delay(random.between(500, 7000));
      server.kill("SIGCONT");
    },
  },
  {
    name: "connections to storage and scheduler cut",
    async cause(cluster) {
      cluster.relay.cut();
    },
  },
  {
    name: "storage and scheduler unreachable",
    async cause(cluster, random) {
      cluster.relay.isOpen = false;
      await delay(random.between(200, 4000));
      cluster.relay.isOpen = true;
    },
  },
  {
    name: "a command's helper killed",
    async cause(cluster, random) {
      const helpers = cluster.childrenOf("runner", "bb_spawn");
      if (helpers.length > 0) {
        kill(random.pick(helpers));
      }
    },
  },
  {
    name: "mount helper killed",
    async cause(cluster) {
      const worker = cluster.part("worker");
      const [helper] = cluster.childrenOf("worker", "bb_mount");
      if (helper === undefined) {
        throw new Error("the worker has no mount helper");
      }
      kill(helper);
      const exit = await worker.exit();
      if (exit !== 1) {
        throw new Error(`a worker whose mount helper was killed ended with ${exit}, not 1`);
      }
      await cluster.startPart("worker");
    },
  },
];

/** If `expected` is given, the part must end with that exit code. */
async function endAndRestart(
  cluster: ChaosCluster,
  name: PartName,
  signal: NodeJS.Signals,
  expected?: number,
): Promise<void> {
  const exit = await cluster.part(name).end(signal);
  if (expected !== undefined && exit !== expected) {
    throw new Error(`the ${name} was told to stop and ended with ${exit}, not ${expected}`);
  }
  await cluster.startPart(name);
}

/** A process that has ended meanwhile is as good as killed. */
function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") {
      throw error;
    }
  }
}
