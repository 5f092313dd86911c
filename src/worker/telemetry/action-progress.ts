import { type Any, anyUnpack, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type ExecuteResponse,
  type RequestMetadata,
  RequestMetadataSchema,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { DesiredState_Executing } from "../../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import type { InputUsage } from "../../vfs/index.ts";
import type { ExecutionStage } from "../scheduler/build-client.ts";
import type { ActionObserver, ActionPart } from "./action-observer.ts";

/** What an action does, or "preparing" until it has a stage. */
export type RunningStage = ExecutionStage | "preparing";

/** Where an action's time goes, in milliseconds. */
export interface ActionTimes {
  /** From when the client's order was queued until it came here. */
  readonly queued: number;
  /** Until the command could run. */
  readonly input: number;
  readonly run: number;
  /** The part of `run` during which something of the action waited for storage. */
  readonly storage: number;
  readonly upload: number;
}

/** What an action waits for now. */
export interface ActionWait extends ActionPart {
  /** As of `performance.now()`. */
  readonly since: number;
}

/** Where an action runs, and when it came. */
export interface ActionOrigin {
  readonly worker: string;
  readonly orderedAt: number;
  readonly instanceNamePrefix: string;
}

/** How an action ended. */
export interface ActionOutcome {
  readonly exitCode: number;
  /** Of google.rpc.Code. */
  readonly code: number;
  /** Of the status; "" if that is OK. */
  readonly message: string;
}

/** An action while it runs, and what is known of it afterwards. Strings that the client has chosen may contain anything. */
export class ActionProgress implements ActionObserver {
  /** The thread that runs it, as the scheduler knows it. */
  readonly worker: string;
  readonly actionHash: string;
  readonly instanceName: string;
  /** What the client says it is for, such as a Bazel target, and what kind of action it is; "" if it does not. */
  readonly target: string;
  readonly mnemonic: string;
  /** When the order came, as of `performance.now()`. */
  readonly orderedAt: number;
  /** Since the epoch. */
  endedAt = 0;
  outcome: ActionOutcome | undefined;
  stage: RunningStage = "preparing";
  /** Of its outputs, logs and what describes them, whether storage had it or not. */
  uploadedBytes = 0;
  readonly #now: () => number;
  readonly #queued: number;
  readonly #spent = { preparing: 0, fetchingInputs: 0, running: 0, uploadingOutputs: 0 };
  readonly #waits = new Set<ActionWait>();
  #stageSince: number;
  #fetches = 0;
  #storage = 0;
  #storageSince: number | undefined;
  #inputUsage: () => InputUsage | undefined = () => undefined;

  constructor(
    { actionDigest, instanceNameSuffix, auxiliaryMetadata, queuedTimestamp }: DesiredState_Executing,
    { worker, orderedAt, instanceNamePrefix }: ActionOrigin,
    now: () => number = () => performance.now(),
  ) {
    this.worker = worker;
    this.orderedAt = orderedAt;
    this.actionHash = actionDigest?.hash ?? "";
    this.instanceName = [instanceNamePrefix, instanceNameSuffix].filter((part) => part !== "").join("/");
    const { targetId = "", actionMnemonic = "" } = requestMetadata(auxiliaryMetadata) ?? {};
    this.target = targetId;
    this.mnemonic = actionMnemonic;
    this.#now = now;
    this.#stageSince = orderedAt;
    this.#queued = queuedTimestamp ? Math.max(0, Date.now() - timestampMs(queuedTimestamp)) : 0;
  }

  /** In the order in which they began. */
  get waits(): ReadonlySet<ActionWait> {
    return this.#waits;
  }

  /** So far. */
  get times(): ActionTimes {
    const now = this.#now();
    const spent = { ...this.#spent };
    if (this.outcome === undefined) {
      spent[this.stage] += now - this.#stageSince;
    }
    return {
      queued: this.#queued,
      input: spent.preparing + spent.fetchingInputs,
      run: spent.running,
      storage: this.#storage + (this.#storageSince === undefined ? 0 : now - this.#storageSince),
      upload: spent.uploadingOutputs,
    };
  }

  /** See {@link ActionDirectory.inputUsage}. */
  get inputUsage(): InputUsage | undefined {
    return this.#inputUsage();
  }

  /** The action has got a directory, which says what has been seen of its input root. */
  hasDirectory(directory: { inputUsage(): InputUsage | undefined }): void {
    this.#inputUsage = () => directory.inputUsage();
  }

  enter(stage: ExecutionStage): void {
    this.endStage();
    this.stage = stage;
    if (stage === "running" && this.#fetches > 0) {
      this.#storageSince = this.#stageSince;
    }
  }

  endStage(): void {
    const now = this.#now();
    this.#spent[this.stage] += now - this.#stageSince;
    this.#stageSince = now;
    this.#endStorage(now);
  }

  waitsFor(part: ActionPart, settled: Promise<unknown>): void {
    const wait: ActionWait = { ...part, since: this.#now() };
    this.#waits.add(wait);
    if (part.kind === "fetch" && this.#fetches++ === 0 && this.stage === "running") {
      this.#storageSince = wait.since;
    }
    const end = (): void => {
      this.#waits.delete(wait);
      if (part.kind === "fetch" && --this.#fetches === 0) {
        this.#endStorage(this.#now());
      }
    };
    settled.then(end, end);
  }

  uploaded(bytes: number): void {
    this.uploadedBytes += bytes;
  }

  end({ status, result }: ExecuteResponse): void {
    this.endStage();
    this.endedAt = Date.now();
    this.outcome = {
      exitCode: result?.exitCode ?? 0,
      code: status?.code ?? Code.OK,
      message: status?.message ?? "",
    };
    const usage = this.#inputUsage();
    this.#inputUsage = () => usage;
  }

  #endStorage(now: number): void {
    if (this.#storageSince !== undefined) {
      this.#storage += now - this.#storageSince;
      this.#storageSince = undefined;
    }
  }
}

/** What the client says of its request; undefined if it says nothing, or nothing that can be read. */
function requestMetadata(auxiliaryMetadata: readonly Any[]): RequestMetadata | undefined {
  try {
    return auxiliaryMetadata.map((any) => anyUnpack(any, RequestMetadataSchema)).find((found) => found);
  } catch {
    return undefined;
  }
}
