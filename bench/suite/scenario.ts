import type { Digest } from "../../src/reapi/digest.ts";
import type { Distance } from "./distance.ts";
import {
  CALLS,
  FETCHED,
  type Metric,
  ORDER_TO_RUN,
  type Recorder,
  RUN,
  WALL,
  WORKER_CPU,
} from "./measurements.ts";
import type { Preparation } from "./preparation.ts";
import type { Cost, Side } from "./side.ts";

/** A question, and the measurements that answer it. */
export interface Scenario<Plan> {
  readonly name: string;
  readonly question: string;
  /**
   * On this machine: puts into the storage what the scenario needs. What it gives reaches {@link measure} as JSON.
   */
  prepare(preparation: Preparation): Promise<Plan>;
  /** Where the kernel has an NFS client. */
  measure(bench: Bench, plan: Plan): Promise<void>;
}

/** What a scenario measures with. */
export class Bench {
  readonly sides: readonly Side[];
  readonly quick: boolean;
  /** As {@link sides}, and those that differ from one of them by one setting. */
  readonly variants: readonly Side[];
  /** How often everything is measured. */
  readonly runs: number;
  /** Of the storage from all sides but the local one. */
  readonly distance: Distance;
  /** An input root for actions that do nothing. */
  readonly smallest: Digest;
  readonly progress: (text: string) => void;
  readonly #recorder: Recorder;
  readonly #failures: string[];
  readonly #failed = new Set<string>();
  readonly #scenario: string;

  constructor(
    scenario: string,
    parts: {
      readonly sides: readonly Side[];
      readonly variants: readonly Side[];
      readonly quick: boolean;
      readonly runs: number;
      readonly distance: Distance;
      readonly smallest: Digest;
      readonly progress: (text: string) => void;
      readonly recorder: Recorder;
      readonly failures: string[];
    },
  ) {
    this.#scenario = scenario;
    this.sides = parts.sides;
    this.variants = parts.variants;
    this.quick = parts.quick;
    this.runs = parts.runs;
    this.distance = parts.distance;
    this.smallest = parts.smallest;
    this.progress = parts.progress;
    this.#recorder = parts.recorder;
    this.#failures = parts.failures;
  }

  record(caseName: string, metric: Metric, side: Side, value: number): void {
    this.#recorder.add(this.#scenario, caseName, metric, side.name, value);
  }

  recordCost(caseName: string, side: Side, cost: Cost): void {
    const values: readonly [Metric, number | undefined][] = [
      [WALL, cost.wall],
      [RUN, cost.run],
      [ORDER_TO_RUN, cost.orderToRun],
      [WORKER_CPU, cost.workerCpu],
      [FETCHED, cost.fetchedBytes === undefined ? undefined : cost.fetchedBytes / 1e6],
      [CALLS, cost.calls],
    ];
    for (const [metric, value] of values) {
      if (value !== undefined) {
        this.record(caseName, metric, side, value);
      }
    }
  }

  /**
   * Does the work for each side in turn, as often as everything is measured. A side that fails is reported, and left out
   * of this from then on.
   */
  async interleaved(
    title: string,
    sides: readonly Side[],
    work: (side: Side) => Promise<void>,
  ): Promise<void> {
    for (let run = 0; run < this.runs; run++) {
      for (const side of sides) {
        this.progress(`${this.#scenario}, ${title}: run ${run + 1} of ${this.runs}, ${side.title}`);
        await this.attempt(title, side, () => work(side));
      }
    }
  }

  /** Does one of several things that a side may fail at without failing at the others. It is not asked to do it again. */
  async attempt(title: string, side: Side, work: () => Promise<void>): Promise<void> {
    const attempted = `${this.#scenario}, ${title}, ${side.title}`;
    if (this.#failed.has(attempted)) {
      return;
    }
    try {
      await work();
    } catch (error) {
      this.#failed.add(attempted);
      this.#failures.push(`${attempted}: ${(error as Error).message}`);
    }
  }
}
