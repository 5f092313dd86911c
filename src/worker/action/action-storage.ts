import type {
  ActionResult,
  Command,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Digest } from "../../reapi/digest.ts";
import type { OutputStore } from "./output-upload.ts";

/** What the executor needs of the CAS and the action cache. */
export interface ActionStorage {
  command(digest: Digest, signal: AbortSignal): Promise<Command>;
  /** A store for one action's outputs, which go under the same instance name and digest function as `action`. */
  outputStore(action: Digest, signal: AbortSignal): OutputStore;
  updateActionResult(action: Digest, result: ActionResult, signal: AbortSignal): Promise<void>;
}
