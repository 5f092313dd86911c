import { StatusError, status } from "../../grpc/status.ts";
import type { ActionResult } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";

/** What a test makes to say that its machine is at fault (Bazel's TEST_INFRASTRUCTURE_FAILURE_FILE). */
const FAILURE_FILE = "test.infrastructure_failure";

/**
 * Ends all work of the process, but not the process, once one thread has run so many actions in a row whose tests blame
 * the machine: a broken device must not go on to fail every test that it gets.
 */
export class TestInfrastructureFailures {
  readonly #stop = new AbortController();

  /** Aborts, with UNAVAILABLE as the reason, when no more actions may run. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Makes the function that takes note of the results of one thread. */
  thread(maximumConsecutive: number): (result: ActionResult) => void {
    let consecutive = 0;
    return ({ outputFiles }) => {
      const isFailure = outputFiles.some(({ path }) => path.split("/").at(-1) === FAILURE_FILE);
      consecutive = isFailure ? consecutive + 1 : 0;
      if (consecutive >= maximumConsecutive) {
        const message =
          `the worker takes no more actions: ${maximumConsecutive} in a row on one of its threads had an output ` +
          `${FAILURE_FILE}; repair the machine, and restart the worker`;
        this.#stop.abort(new StatusError(status(Code.UNAVAILABLE, message)));
      }
    };
  }
}
