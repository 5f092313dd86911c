import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Channel } from "@grpc/grpc-js";
import { openChannel } from "../../src/grpc/endpoint.ts";
import { sh } from "../kernel/mounted-file-systems.ts";
import { Random } from "../kernel/random.ts";
import { type Census, leftBehind } from "./census.ts";
import { ChaosCluster } from "./chaos-cluster.ts";
import { WorkClient } from "./client.ts";
import { makeWork } from "./work.ts";

const SLOTS = 2;
const WARM_UP_ACTIONS = 16;
/** This process may have much else to do. */
const CALL_MILLISECONDS = 120_000;
const LEAST_BETWEEN_KILLS_MILLISECONDS = 2000;
/** An action must end this long after the last kill of its quarter. */
const QUIET_MILLISECONDS = 240_000;

/** Actions whose results are known, on a worker that lives on while its runner is killed and started again. */
export class RunnerKills implements AsyncDisposable {
  /** How often the runner was killed. */
  kills = 0;
  readonly #cluster: ChaosCluster;
  readonly #channel: Channel;
  readonly #client: WorkClient;
  readonly #seed: number;
  readonly #random: Random;
  #actions = 0;
  #idle: Census | undefined;

  private constructor(cluster: ChaosCluster, seed: number) {
    this.#cluster = cluster;
    this.#channel = openChannel({ address: cluster.address });
    this.#client = new WorkClient(this.#channel, cluster.root, CALL_MILLISECONDS);
    this.#seed = seed;
    this.#random = new Random(~seed);
  }

  static async start(seed: number, log: (line: string) => void): Promise<RunnerKills> {
    const folder = mkdtempSync(join(tmpdir(), "runner-kills-"));
    return new RunnerKills(await ChaosCluster.start(folder, SLOTS, log), seed);
  }

  /** How many actions were run. */
  get actions(): number {
    return this.#actions;
  }

  /** How often an action ended with a status that a client tries again after. */
  get retries(): ReadonlyMap<string, number> {
    return this.#client.retries;
  }

  /** What some actions at once bring into being once and for all, such as connections. */
  async warmUp(): Promise<void> {
    const signal = AbortSignal.timeout(QUIET_MILLISECONDS);
    await Promise.all(Array.from({ length: WARM_UP_ACTIONS }, () => this.#action(signal)));
  }

  /**
   * Runs actions for that long, and kills the runner at most `between` milliseconds after the last time; not at all if
   * that is 0. Rejects if an action is lost or wrong, or if none noticed that its runner was killed.
   */
  async quarter(milliseconds: number, between: number): Promise<void> {
    const deadline = performance.now() + milliseconds;
    const lost = new AbortController();
    const [killsBefore, failedBefore] = [this.kills, this.#failedForWantOfARunner()];
    const actions = Array.from({ length: SLOTS }, async () => {
      do {
        await this.#action(lost.signal);
      } while (performance.now() < deadline);
    });
    const all = Promise.all([...actions, between > 0 && this.#killUntil(deadline, between)]);
    const timer = setTimeout(
      () =>
        lost.abort(new Error(`an action has not ended ${QUIET_MILLISECONDS / 1000} s after the last kill`)),
      milliseconds + QUIET_MILLISECONDS,
    );
    await all.finally(() => clearTimeout(timer));
    if (this.kills > killsBefore && this.#failedForWantOfARunner() === failedBefore) {
      throw new Error(`the runner was killed ${this.kills - killsBefore} times, and no action failed`);
    }
  }

  /** What the worker's process holds, and what its mount does. */
  async holdings(): Promise<Record<string, number>> {
    const { pid } = this.#cluster.part("worker");
    const [, rss] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))!;
    const build = join(this.#cluster.folder, "build");
    const [total, free] = (await sh(`stat -f -c '%c %d' ${build}`, "/")).split(" ").map(Number);
    return {
      "worker's rss": Number(rss) * 1024,
      "worker's descriptors": readdirSync(`/proc/${pid}/fd`).length,
      "states, worker": await this.#cluster.metric("bb_worker_nfs4_nfs_states"),
      "delegations, worker": await this.#cluster.metric("bb_worker_nfs4_nfs_delegations"),
      "nodes, worker": total! - free!,
    };
  }

  /** Processes, mounts, files and more that there were not when this was called first. When nothing else runs. */
  async leftBehind(): Promise<readonly string[]> {
    this.#idle ??= this.#cluster.census();
    return leftBehind(this.#idle, () => this.#cluster.census());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#channel.close();
    await this.#cluster[Symbol.asyncDispose]();
  }

  async #action(signal: AbortSignal): Promise<void> {
    const number = ++this.#actions;
    await this.#client.run(makeWork(new Random(this.#seed ^ Math.imul(number, 0x9e3779b9)), number), signal);
  }

  async #killUntil(deadline: number, between: number): Promise<void> {
    for (;;) {
      const pause = this.#random.between(Math.min(LEAST_BETWEEN_KILLS_MILLISECONDS, between), between);
      if (performance.now() + pause > deadline) {
        return;
      }
      await delay(pause);
      await this.#cluster.part("runner").end("SIGKILL");
      this.kills++;
      await this.#cluster.startPart("runner");
    }
  }

  #failedForWantOfARunner(): number {
    return [...this.retries]
      .filter(([kind]) => kind.startsWith("UNAVAILABLE: cannot run the command"))
      .reduce((sum, [, times]) => sum + times, 0);
  }
}
