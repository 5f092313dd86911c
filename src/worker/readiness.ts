import type { Runner } from "../proto/gen/buildbarn/runner/runner_pb.ts";
import type { Client } from "../proto/grpc.ts";
import type { Log } from "../telemetry/log.ts";
import type { CreateActionDirectory } from "./action-directory.ts";

const timeoutMilliseconds = 30_000;
const probeName = "check_readiness";

/**
 * Asks the runner whether it can run actions and sees what the worker makes in its mount. Rejects with the
 * runner's status where it does not.
 */
export async function checkReadiness(
  runner: Pick<Client<typeof Runner>, "checkReadiness">,
  createDirectory: CreateActionDirectory,
  signal: AbortSignal,
): Promise<void> {
  using directory = createDirectory();
  await directory.build.makeDirectories([probeName]);
  await runner.checkReadiness(
    { path: `${directory.path}/${probeName}` },
    { signal, deadline: Date.now() + timeoutMilliseconds },
  );
}

/** Logs what keeps a runner from getting work: when it begins, now and then while it lasts, when it is over. */
export class ProblemLog {
  readonly #log: Log;
  readonly #now: () => number;
  #reported: { readonly text: string; readonly at: number } | undefined;

  constructor(log: Log, now: () => number = () => performance.now()) {
    this.#log = log;
    this.#now = now;
  }

  report(message: string, error: unknown): void {
    const text = `${message}: ${error instanceof Error ? error.message : error}`;
    const now = this.#now();
    if (this.#reported?.text !== text || now - this.#reported.at > repeatMilliseconds) {
      this.#reported = { text, at: now };
      this.#log.warn(text);
    }
  }

  over(): void {
    if (this.#reported !== undefined) {
      this.#reported = undefined;
      this.#log.info("takes work again");
    }
  }
}

const repeatMilliseconds = 60_000;
