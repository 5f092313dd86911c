import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { openChannel } from "../../src/grpc/endpoint.ts";
import { Random } from "../kernel/random.ts";
import { leftBehind, takeCensus } from "./census.ts";
import { ChaosCluster } from "./chaos-cluster.ts";
import { WorkClient } from "./client.ts";
import { FAULTS } from "./faults.ts";
import { makeWork } from "./work.ts";

export interface ChaosOptions {
  readonly seed: number;
  /** How long faults are caused, all rounds together. */
  readonly milliseconds: number;
  /** How many faults there are between two counts of what is left behind. */
  readonly faultsPerRound: number;
  readonly note: (text: string) => void;
  /** Receives what the programs say. */
  readonly log: (line: string) => void;
}

export interface ChaosReport {
  readonly actions: number;
  readonly rounds: number;
  /** How often each fault was caused. */
  readonly faults: ReadonlyMap<string, number>;
  /** See {@link WorkClient.retries}. */
  readonly retries: ReadonlyMap<string, number>;
  /** What must not be: wrong or lost actions, leftovers. */
  readonly failures: readonly string[];
}

const SLOTS = 3;
const ACTIONS_AT_ONCE = 6;
const WARM_UP_ACTIONS = 16;
/** An action must end this long after the last fault of its round. */
const QUIET_MILLISECONDS = 120_000;

/** One run of faults under verified work. The same seed makes the same actions and faults. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { seed, note, log } = options;
  const failures: string[] = [];
  const faults = new Map<string, number>(FAULTS.map(({ name }) => [name, 0]));
  let actions = 0;
  let rounds = 0;
  let retries: ReadonlyMap<string, number> = new Map();
  const before = takeCensus([]);
  {
    await using cluster = await ChaosCluster.start(mkdtempSync(join(tmpdir(), `chaos-${seed}-`)), SLOTS, log);
    const channel = openChannel({ address: cluster.address });
    try {
      const client = new WorkClient(channel, cluster.root);
      retries = client.retries;
      const nextWork = () => makeWork(new Random(seed ^ Math.imul(++actions, 0x9e3779b9)), actions);
      const faultRandom = new Random(~seed);
      // What some actions at once bring into being once and for all, such as connections, is not left behind.
      const warmUp = AbortSignal.timeout(QUIET_MILLISECONDS);
      await Promise.all(Array.from({ length: WARM_UP_ACTIONS }, () => client.run(nextWork(), warmUp)));
      const idle = cluster.census();
      const deadline = performance.now() + options.milliseconds;
      while (performance.now() < deadline && failures.length === 0) {
        rounds++;
        const lost = new AbortController();
        let isOver = false;
        const workers = Array.from({ length: ACTIONS_AT_ONCE }, async () => {
          while (!isOver && failures.length === 0) {
            const work = nextWork();
            try {
              await client.run(work, lost.signal);
            } catch (error) {
              failures.push(`${work.name}: ${(error as Error).stack}`);
            }
          }
        });
        for (let caused = 0; caused < options.faultsPerRound && failures.length === 0; caused++) {
          await delay(faultRandom.between(100, 4000));
          const fault = faultRandom.pick(FAULTS);
          log(`fault: ${fault.name}`);
          faults.set(fault.name, faults.get(fault.name)! + 1);
          try {
            await fault.cause(cluster, faultRandom);
          } catch (error) {
            failures.push(`${fault.name}: ${(error as Error).stack}`);
          }
        }
        isOver = true;
        const timer = setTimeout(
          () => lost.abort(new Error(`not ended ${QUIET_MILLISECONDS / 1000} s after the last fault`)),
          QUIET_MILLISECONDS,
        );
        await Promise.all(workers);
        clearTimeout(timer);
        failures.push(
          ...(await leftBehind(idle, () => cluster.census())).map(
            (line) => `left behind after round ${rounds}: ${line}`,
          ),
        );
        note(`round ${rounds}: ${actions} actions so far, ${failures.length} failures`);
      }
    } finally {
      channel.close();
    }
  }
  const left = await leftBehind(before, () => takeCensus([]));
  if (left.length > 0) {
    log(hangingTasks());
  }
  failures.push(...left.map((line) => `left behind at the end: ${line}`));
  return { actions, rounds, faults, retries, failures };
}

/** The kernel's description of the tasks that wait in it, with their stacks. */
function hangingTasks(): string {
  writeFileSync("/proc/sysrq-trigger", "w");
  return execFileSync("dmesg", { encoding: "utf8" }).slice(-20_000);
}
