import type { ExecuteResponse } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { DesiredState_Executing } from "../../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { type ActionOrigin, ActionProgress } from "./action-progress.ts";

/** Actions that have ended and are remembered. */
const REMEMBERED = 50;

/** The actions of a process that are being run, and those that ended last, for whoever wants to know. */
export class RunningActions {
  readonly #running = new Set<ActionProgress>();
  readonly #ended: ActionProgress[] = [];

  /** In the order in which they began. */
  get all(): Iterable<ActionProgress> {
    return this.#running;
  }

  /** The last one first; at most {@link REMEMBERED}. */
  get ended(): readonly ActionProgress[] {
    return this.#ended;
  }

  begin(request: DesiredState_Executing, origin: ActionOrigin): ActionProgress {
    const action = new ActionProgress(request, origin);
    this.#running.add(action);
    return action;
  }

  end(action: ActionProgress, response: ExecuteResponse): void {
    action.end(response);
    this.#running.delete(action);
    this.#ended.unshift(action);
    this.#ended.length = Math.min(this.#ended.length, REMEMBERED);
  }
}
