import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ExecutedActionMetadata } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { ExecutionStage } from "../scheduler/build-client.ts";

type TimestampField = {
  [Field in keyof ExecutedActionMetadata]-?: ExecutedActionMetadata[Field] extends Timestamp | undefined
    ? Field
    : never;
}[keyof ExecutedActionMetadata];

const TIMESTAMP_FIELDS = {
  fetchingInputs: ["inputFetchStartTimestamp", "inputFetchCompletedTimestamp"],
  running: ["executionStartTimestamp", "executionCompletedTimestamp"],
  uploadingOutputs: ["outputUploadStartTimestamp", "outputUploadCompletedTimestamp"],
} as const satisfies Record<ExecutionStage, readonly [TimestampField, TimestampField]>;

/** Records the times of an action's stages in its metadata, and reports each stage as it begins. */
export class Stages {
  readonly #metadata: ExecutedActionMetadata;
  readonly #onStage: (stage: ExecutionStage) => void;
  #completed: TimestampField = "workerCompletedTimestamp";

  constructor(metadata: ExecutedActionMetadata, onStage: (stage: ExecutionStage) => void) {
    this.#metadata = metadata;
    this.#onStage = onStage;
    metadata.workerStartTimestamp = timestampFromMs(Date.now());
  }

  /** Ends the previous stage. */
  enter(stage: ExecutionStage): void {
    const now = this.#complete();
    const [started, completed] = TIMESTAMP_FIELDS[stage];
    this.#metadata[started] = now;
    this.#completed = completed;
    this.#onStage(stage);
  }

  /** Ends the last stage. */
  end(): void {
    this.#metadata.workerCompletedTimestamp = this.#complete();
  }

  #complete(): Timestamp {
    const now = timestampFromMs(Date.now());
    this.#metadata[this.#completed] = now;
    return now;
  }
}
