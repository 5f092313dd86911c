import type { Client } from "../../grpc/client.ts";
import type { Runner } from "../../proto/gen/buildbarn/runner/runner_pb.ts";
import type { CreateActionDirectory } from "../action/action-directory.ts";

const TIMEOUT_MILLISECONDS = 30_000;
const PROBE_NAME = "check_readiness";

/**
 * Asks the runner whether it can run actions and sees what the worker makes in its mount. If not, rejects with the
 * runner's status.
 */
export async function checkReadiness(
  runner: Pick<Client<typeof Runner>, "checkReadiness">,
  createDirectory: CreateActionDirectory,
  signal: AbortSignal,
): Promise<void> {
  await using directory = await createDirectory();
  await directory.makeDirectory(PROBE_NAME);
  await directory.untilVisible();
  await runner.checkReadiness(
    { path: `${directory.path}/${PROBE_NAME}` },
    { signal, deadline: Date.now() + TIMEOUT_MILLISECONDS },
  );
}
