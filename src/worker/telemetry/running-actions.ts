import type { ExecutionStage } from "../scheduler/build-client.ts";

/** What an action does, or "preparing" until it has a stage. */
export type RunningStage = ExecutionStage | "preparing";

/** An action that is being run. */
export interface RunningAction {
  readonly worker: string;
  /** Milliseconds, as of `performance.now()`. */
  readonly orderedAt: number;
  stage: RunningStage;
}

/** The actions of a process that are being run, for whoever wants to know. */
export class RunningActions {
  readonly #actions = new Set<RunningAction>();

  /** In the order in which they began. */
  get all(): Iterable<RunningAction> {
    return this.#actions;
  }

  begin(worker: string, orderedAt: number): RunningAction {
    const action: RunningAction = { worker, orderedAt, stage: "preparing" };
    this.#actions.add(action);
    return action;
  }

  end(action: RunningAction): void {
    this.#actions.delete(action);
  }
}
