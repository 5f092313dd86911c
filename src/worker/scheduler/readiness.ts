import type { Client } from "../../grpc/client.ts";
import type { Runner } from "../../proto/gen/buildbarn/runner/runner_pb.ts";
import type { Log } from "../../telemetry/log.ts";
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
  await using directory = createDirectory();
  await directory.build.makeDirectories([PROBE_NAME]);
  await directory.untilVisible();
  await runner.checkReadiness(
    { path: `${directory.path}/${PROBE_NAME}` },
    { signal, deadline: Date.now() + TIMEOUT_MILLISECONDS },
  );
}

/** Logs what keeps a runner from getting work: when it begins, occasionally while it lasts, and when it is over. */
export class ProblemLog {
  readonly #log: Log;
  readonly #now: () => number;
  #reported: { readonly problem: string; readonly at: number } | undefined;

  constructor(log: Log, now: () => number = () => performance.now()) {
    this.#log = log;
    this.#now = now;
  }

  report(message: string, error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    // The text of a gRPC error may differ each time, as when it names the directory that was asked for.
    const problem = `${message}: ${(error as { code?: number } | undefined)?.code ?? text}`;
    const now = this.#now();
    if (this.#reported?.problem !== problem || now - this.#reported.at > REPEAT_MILLISECONDS) {
      this.#reported = { problem, at: now };
      this.#log.warn(`${message}: ${text}`);
    }
  }

  over(): void {
    if (this.#reported !== undefined) {
      this.#reported = undefined;
      this.#log.info("takes work again");
    }
  }
}

const REPEAT_MILLISECONDS = 60_000;
