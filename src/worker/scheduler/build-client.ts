import { setTimeout } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { EmptySchema, timestampMs } from "@bufbuild/protobuf/wkt";
import { waitAtMost } from "../../async/wait.ts";
import type { Client } from "../../grpc/client.ts";
import { StatusError, status } from "../../grpc/status.ts";
import type {
  Digest,
  ExecuteResponse,
  Platform,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  type CurrentState,
  type CurrentState_Executing,
  CurrentState_ExecutingSchema,
  CurrentStateSchema,
  type DesiredState_Executing,
  type OperationQueue,
  type SynchronizeResponse,
} from "../../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";

/** What an action is doing, as the scheduler wants to know it. */
export type ExecutionStage = "fetchingInputs" | "running" | "uploadingOutputs";

export interface ExecutionContext {
  /** Aborted when the action must stop; a reason that is a StatusError is the status to respond with. */
  readonly signal: AbortSignal;
  /** When the order came, as of `performance.now()`. */
  readonly orderedAt: number;
  onStage(stage: ExecutionStage): void;
}

/** Runs one action. Never rejects: errors are in the response's status. */
export type Execute = (
  request: DesiredState_Executing,
  context: ExecutionContext,
) => Promise<ExecuteResponse>;

export interface BuildClientOptions {
  readonly queue: Client<typeof OperationQueue>;
  readonly workerId: Readonly<Record<string, string>>;
  readonly instanceNamePrefix: string;
  readonly platform: Platform | undefined;
  readonly sizeClass: number;
  readonly execute: Execute;
  /** Rejects as long as no action should be taken. */
  readonly checkReadiness: (signal: AbortSignal) => Promise<void>;
  /** Called for failed calls to the scheduler and failed readiness checks; both are retried. */
  readonly onError: (message: string, error: unknown) => void;
  /** The longest pause before a retry, in milliseconds; the pause is random. Default 5000. */
  readonly maximumBackoff?: number;
}

/** The scheduler considers a worker lost when its next synchronisation is this late. Milliseconds. */
const SCHEDULER_FORGETS_AFTER = 60_000;

/** How long the last synchronisation of a departing worker may take. Milliseconds. */
const FAREWELL_TIMEOUT = 5_000;

/**
 * One worker thread as the scheduler sees it: reports its state by OperationQueue.Synchronize, and runs the actions
 * that it gets, one at a time.
 */
export class BuildClient {
  readonly #options: BuildClientOptions;
  #state: CurrentState["workerState"] = idle();
  #execution: Execution | undefined;
  #nextSynchronizationAt = Date.now();
  /** Until when, in milliseconds since 1970, the scheduler may believe that this worker is running something. */
  #mayBeThoughtExecutingUntil: number | undefined;

  constructor(options: BuildClientOptions) {
    this.#options = options;
  }

  /**
   * Works until `drain` is aborted, the running action has finished and the scheduler knows it. When `handBack` is
   * aborted, a running action is stopped and reported as UNAVAILABLE, so that the client has it run again. Never
   * rejects.
   */
  async run(drain: AbortSignal, handBack: AbortSignal): Promise<void> {
    const stop = (): void =>
      this.#execution?.stop(new StatusError(status(Code.UNAVAILABLE, "the worker is shutting down")));
    handBack.addEventListener("abort", stop);
    try {
      while (!this.#mayTerminate(drain)) {
        const wasDraining = drain.aborted;
        const lastCall = handBack.aborted;
        try {
          await this.#step(drain, handBack);
          if (handBack.aborted) {
            stop();
          }
        } catch (error) {
          if (drain.aborted && !wasDraining) {
            // The call was abandoned so that the scheduler can be told, which is next.
            continue;
          }
          this.#options.onError("cannot take work", error);
          if (lastCall && this.#execution === undefined) {
            return;
          }
          await this.#backOff(drain.aborted ? handBack : drain);
        }
      }
    } finally {
      handBack.removeEventListener("abort", stop);
      await this.#stopExecution();
    }
  }

  #mayTerminate(drain: AbortSignal): boolean {
    const until = this.#mayBeThoughtExecutingUntil;
    return drain.aborted && this.#execution === undefined && (until === undefined || Date.now() > until);
  }

  /** Waits for a reason to contact the scheduler, then does so once. */
  async #step(drain: AbortSignal, handBack: AbortSignal): Promise<void> {
    if (this.#mayBeThoughtExecutingUntil === undefined) {
      await this.#options.checkReadiness(drain);
    }
    if (this.#execution !== undefined) {
      await this.#execution.changed(this.#nextSynchronizationAt - Date.now());
      this.#state = { case: "executing", value: this.#execution.state };
      if (this.#execution.finished) {
        this.#execution = undefined;
      }
    }
    const executing = this.#execution !== undefined;
    const response = await this.#synchronize(drain, handBack);
    const orderedAt = performance.now();
    if (response.nextSynchronizationAt === undefined) {
      throw new StatusError(status(Code.INTERNAL, "the scheduler's answer has no next_synchronization_at"));
    }
    this.#nextSynchronizationAt = timestampMs(response.nextSynchronizationAt);
    await this.#apply(response, executing, orderedAt);
  }

  async #synchronize(drain: AbortSignal, handBack: AbortSignal): Promise<SynchronizeResponse> {
    const { queue, workerId, instanceNamePrefix, platform, sizeClass } = this.#options;
    const preferBeingIdle = drain.aborted || this.#prefersBeingIdle();
    try {
      return await queue.synchronize(
        {
          workerId,
          instanceNamePrefix,
          platform,
          sizeClass,
          preferBeingIdle,
          currentState: create(CurrentStateSchema, { workerState: this.#state }),
        },
        // A call that asks for work may block for long: it is abandoned when the worker is to stop.
        handBack.aborted
          ? { deadline: Date.now() + FAREWELL_TIMEOUT }
          : { signal: drain.aborted ? handBack : drain },
      );
    } finally {
      // The answer that a failed call lost may have been an order.
      this.#mayBeThoughtExecutingUntil ??= this.#nextSynchronizationAt + SCHEDULER_FORGETS_AFTER;
    }
  }

  #prefersBeingIdle(): boolean {
    if (this.#state.case !== "executing") {
      return this.#mayBeThoughtExecutingUntil !== undefined;
    }
    // After a failure that is not the command's own, the runner's readiness is checked before taking more work.
    const { executionState } = this.#state.value;
    return executionState.case === "completed" && (executionState.value.status?.code ?? Code.OK) !== Code.OK;
  }

  async #apply(response: SynchronizeResponse, executing: boolean, orderedAt: number): Promise<void> {
    const desired = response.desiredState?.workerState;
    switch (desired?.case) {
      case "executing":
        await this.#stopExecution();
        this.#startExecution(desired.value, orderedAt);
        this.#mayBeThoughtExecutingUntil = this.#nextSynchronizationAt + SCHEDULER_FORGETS_AFTER;
        return;
      case "idle":
        await this.#stopExecution();
        this.#mayBeThoughtExecutingUntil = undefined;
        return;
      default:
        this.#mayBeThoughtExecutingUntil = executing
          ? this.#nextSynchronizationAt + SCHEDULER_FORGETS_AFTER
          : undefined;
    }
  }

  #startExecution(request: DesiredState_Executing, orderedAt: number): void {
    this.#execution = new Execution(this.#options.execute, request, orderedAt);
    this.#state = { case: "executing", value: this.#execution.state };
  }

  async #stopExecution(): Promise<void> {
    const execution = this.#execution;
    this.#execution = undefined;
    this.#state = idle();
    if (execution !== undefined) {
      execution.stop(new StatusError(status(Code.CANCELLED, "the scheduler no longer wants the action")));
      await execution.done;
    }
  }

  async #backOff(signal: AbortSignal): Promise<void> {
    const pause = Math.random() * (this.#options.maximumBackoff ?? 5_000);
    // An abort ends the pause early.
    await setTimeout(pause, undefined, { signal }).catch(() => {});
  }
}

/** An action while it runs. */
class Execution {
  readonly done: Promise<void>;
  finished = false;
  state: CurrentState_Executing;
  readonly #actionDigest: Digest | undefined;
  readonly #abort = new AbortController();
  #changed = Promise.withResolvers<void>();

  constructor(execute: Execute, request: DesiredState_Executing, orderedAt: number) {
    this.#actionDigest = request.actionDigest;
    this.state = this.#stateOf({ case: "started", value: create(EmptySchema) });
    this.done = execute(request, {
      signal: this.#abort.signal,
      orderedAt,
      onStage: (stage) => this.#change({ case: stage, value: create(EmptySchema) }),
    }).then((response) => {
      this.finished = true;
      this.#change({ case: "completed", value: response });
    });
  }

  stop(reason: StatusError): void {
    this.#abort.abort(reason);
  }

  /** Resolves when there is news to report, or after `timeout` milliseconds. */
  async changed(timeout: number): Promise<void> {
    await waitAtMost(this.#changed.promise, timeout);
    this.#changed = this.finished ? this.#changed : Promise.withResolvers();
  }

  #change(state: CurrentState_Executing["executionState"]): void {
    this.state = this.#stateOf(state);
    this.#changed.resolve();
  }

  #stateOf(executionState: CurrentState_Executing["executionState"]): CurrentState_Executing {
    return create(CurrentState_ExecutingSchema, { actionDigest: this.#actionDigest, executionState });
  }
}

function idle(): CurrentState["workerState"] {
  return { case: "idle", value: create(EmptySchema) };
}
