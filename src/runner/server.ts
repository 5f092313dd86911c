import type { Server, ServerUnaryCall } from "@grpc/grpc-js";
import type { BbRunnerSettings } from "../config/bb-runner/application.ts";
import { ConfigurationError } from "../config/error.ts";
import { addService } from "../grpc/grpc.ts";
import { createServer, listen } from "../grpc/server.ts";
import { StatusError, status, statusFromError } from "../grpc/status.ts";
import { helperPath } from "../native/helper.ts";
import { Runner as RunnerService } from "../proto/gen/buildbarn/runner/runner_pb.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import type { Log } from "../telemetry/log.ts";
import { isolationFailure } from "./command.ts";
import { Runner } from "./runner.ts";

const ISOLATION_ADVICE =
  "commands get no PID and mount namespaces: one that runs as this process's user can outlive its action, and as root " +
  "leave chrootIntoInputRoot; run the runner as root with CAP_SYS_ADMIN (in a container: privileged)";

/** How long clients may take to receive the last responses when the runner stops. */
const FLUSH_MILLISECONDS = 1000;

/** How long cleaning after the last command may take when the runner stops; the next one cleans before its first. */
const LAST_CLEANING_MILLISECONDS = 3000;

/** A runner that serves, until it is closed. */
export interface RunningRunner {
  /**
   * Takes no more calls; ends running commands, where the configuration says stopGracefully after they have had
   * `graceMilliseconds` to end by themselves. Resolves when no process of a command is left.
   */
  close(graceMilliseconds?: number): Promise<void>;
}

/**
 * Starts the Runner service on every address of the settings, and sets this process's umask if they say so. Throws a
 * ConfigurationError for an address that cannot be had, and an Error if the native helper has not been built.
 */
export async function startRunner(settings: BbRunnerSettings, log: Log): Promise<RunningRunner> {
  helperPath("bb_spawn");
  const notIsolated = await isolationFailure();
  if (notIsolated) {
    log.warn(ISOLATION_ADVICE, { error: notIsolated.message });
  }
  if (settings.umask !== undefined) {
    process.umask(settings.umask);
  }
  const calls = new Calls();
  const runner = new Runner(settings, {
    isolated: notIsolated === undefined,
    cleaningSignal: calls.overdue,
  });
  const servers: Server[] = [];
  const close = async (graceMilliseconds = 0) => {
    const graceful = settings.grpcServers.some((server) => server.stopGracefully);
    const stopped = servers.map(
      (server) => new Promise<void>((resolve) => server.tryShutdown(() => resolve())),
    );
    await calls.end(graceful ? graceMilliseconds : 0);
    // The last responses may still be on their way; a client that does not read them is not waited for.
    const timer = setTimeout(() => {
      for (const server of servers) {
        server.forceShutdown();
      }
    }, FLUSH_MILLISECONDS);
    await Promise.all(stopped);
    clearTimeout(timer);
  };
  try {
    for (const [index, serverSettings] of settings.grpcServers.entries()) {
      const server = createServer(serverSettings);
      servers.push(server);
      addRunnerService(server, runner, calls, log);
      await listen(server, serverSettings).catch((error: Error) => {
        throw new ConfigurationError(`grpcServers[${index}]: ${error.message}`, { cause: error });
      });
    }
  } catch (error) {
    await close();
    throw error;
  }
  log.info("runner ready", {
    addresses: settings.grpcServers.flatMap(({ listenAddresses, listenPaths }) => [
      ...listenAddresses,
      ...listenPaths,
    ]),
    buildDirectory: settings.buildDirectoryPath,
  });
  return { close };
}

/** The calls being served. */
class Calls {
  readonly #all = new Set<Promise<unknown>>();
  readonly #ending = new AbortController();
  readonly #overdue = new AbortController();

  /** Aborted when calls must end now. */
  get ending(): AbortSignal {
    return this.#ending.signal;
  }

  /** Aborted when that was a while ago. */
  get overdue(): AbortSignal {
    return this.#overdue.signal;
  }

  add(call: Promise<unknown>): void {
    const settled = call.catch(() => {}).then(() => void this.#all.delete(settled));
    this.#all.add(settled);
  }

  /** Waits for the calls, and aborts those that have not ended in time. */
  async end(graceMilliseconds: number): Promise<void> {
    const timer = setTimeout(() => this.#ending.abort(), graceMilliseconds);
    const overdue = setTimeout(
      () => this.#overdue.abort(shuttingDown()),
      graceMilliseconds + LAST_CLEANING_MILLISECONDS,
    );
    if (graceMilliseconds <= 0) {
      this.#ending.abort();
    }
    await Promise.all(this.#all);
    clearTimeout(timer);
    clearTimeout(overdue);
  }
}

type UnaryCall = Pick<ServerUnaryCall<unknown, unknown>, "on" | "cancelled" | "getPath">;
type Callback<T> = (error: StatusError | null, response?: T) => void;

function addRunnerService(server: Server, runner: Runner, calls: Calls, log: Log): void {
  const answer = <T>(call: UnaryCall, callback: Callback<T>, work: (signal: AbortSignal) => Promise<T>) => {
    const cancelled = new AbortController();
    call.on("cancelled", () => cancelled.abort());
    if (call.cancelled) {
      cancelled.abort();
    }
    const respond = async () => {
      try {
        const response = await work(AbortSignal.any([cancelled.signal, calls.ending]));
        if (calls.ending.aborted) {
          throw shuttingDown();
        }
        callback(null, response);
      } catch (error) {
        const failure = statusFromError(error);
        if (!cancelled.signal.aborted) {
          log.warn("call failed", { method: call.getPath(), code: failure.code, error: failure.message });
        }
        callback(new StatusError(failure));
      }
    };
    calls.add(respond());
  };
  addService(server, RunnerService, {
    checkReadiness: (call, callback) =>
      answer(call, callback, async (signal) => {
        await runner.checkReadiness(call.request.path, signal);
        return {};
      }),
    run: (call, callback) => answer(call, callback, (signal) => runner.run(call.request, signal)),
  });
}

function shuttingDown(): StatusError {
  return new StatusError(status(Code.UNAVAILABLE, "the runner is shutting down"));
}
