import type { Channel, Server } from "@grpc/grpc-js";
import { createAuthenticator } from "../authentication/authenticator.ts";
import { authenticating } from "../authentication/grpc-interceptor.ts";
import type { BbRunnerSettings } from "../config/bb-runner/application.ts";
import { ConfigurationError } from "../config/error.ts";
import type { CallCounts } from "../grpc/calls/counts.ts";
import { tracingServer } from "../grpc/calls/tracing.ts";
import { createClient } from "../grpc/client.ts";
import { type GrpcEndpoint, openChannel } from "../grpc/endpoint.ts";
import { addService, type CallContext, unary } from "../grpc/handlers.ts";
import { addStandardServices, createServer, listen } from "../grpc/server.ts";
import { addRelays } from "../grpc/services/relay.ts";
import { failure, type StatusError, statusFromError } from "../grpc/status.ts";
import {
  type CheckReadinessRequest,
  Runner as RunnerService,
  type RunRequest,
} from "../proto/gen/buildbarn/runner/runner_pb.ts";
import { TemporaryDirectoryInstaller as InstallerService } from "../proto/gen/buildbarn/tmp_installer/tmp_installer_pb.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics/metrics.ts";
import type { StatusPage } from "../telemetry/page/status-page.ts";
import type { Tracer } from "../telemetry/tracing/spans.ts";
import { Cgroups } from "./cgroups.ts";
import { possibleHold } from "./hold.ts";
import { Runner } from "./runner.ts";
import { Spawner } from "./spawn/spawner.ts";
import { countCalls } from "./telemetry/call-metrics.ts";
import { Commands } from "./telemetry/commands.ts";
import { runnerPage } from "./telemetry/page.ts";
import { TemporaryDirectoryInstaller } from "./temporary-directory-installer.ts";

/** How long clients may take to receive the last responses when the runner stops. */
const FLUSH_MILLISECONDS = 1000;

/** How long cleaning after the last command may take when the runner stops; the next one cleans before its first. */
const LAST_CLEANING_MILLISECONDS = 3000;

/** A runner that serves, until it is closed. */
export interface RunningRunner {
  /** For people. */
  readonly page: StatusPage;
  /**
   * Takes no more calls; ends running commands, where the configuration says stopGracefully after they have had
   * `graceMilliseconds` to end by themselves. Resolves when no process of a command is left.
   */
  close(graceMilliseconds?: number): Promise<void>;
}

/**
 * Starts the Runner service on every address of the settings, and sets this process's umask if they say so. `metrics`
 * gets what is counted, and `tracer` a span for each call. Throws a ConfigurationError for an address that cannot be had,
 * and an Error if the native helper has not been built.
 */
export async function startRunner(
  settings: BbRunnerSettings,
  log: Log,
  { metrics, tracer }: { readonly metrics?: Metrics | undefined; readonly tracer?: Tracer | undefined } = {},
): Promise<RunningRunner> {
  if (settings.umask !== undefined) {
    process.umask(settings.umask);
  }
  await using begun = new AsyncDisposableStack();
  const spawner = begun.use(new Spawner());
  const hold = await possibleHold(settings, log, spawner);
  const cgroups = await divideCgroup(settings, log);
  begun.defer(() => cgroups?.close());
  const calls = new Calls();
  const { called, servers: observers } = countCalls(metrics);
  const installer =
    settings.temporaryDirectoryInstaller && connectInstaller(settings.temporaryDirectoryInstaller, called);
  const runner = new Runner(settings, spawner, {
    hold,
    cgroups,
    temporaryDirectoryInstaller: installer?.client,
    cleaningSignal: calls.overdue,
  });
  const commands = new Commands(log);
  const servers: Server[] = [];
  const policies = begun.use(new DisposableStack());
  begun.defer(() => installer?.channel.close());
  const stop = async (graceMilliseconds = 0) => {
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
      const authenticate = createAuthenticator(serverSettings.authentication, policies, called);
      const server = createServer(serverSettings, [
        ...observers,
        ...(tracer ? [tracingServer(tracer, [RunnerService], serverSettings.tracing)] : []),
        authenticating(authenticate),
      ]);
      servers.push(server);
      addRunnerService(server, runner, calls, commands, log);
      addRelays(server, serverSettings.relays, policies);
      const relayed = serverSettings.relays.flatMap(({ services }) => services);
      addStandardServices(server, serverSettings, [RunnerService], relayed);
      await listen(server, serverSettings).catch((error: Error) => {
        throw new ConfigurationError(`grpcServers[${index}]: ${error.message}`, { cause: error });
      });
    }
  } catch (error) {
    await stop();
    throw error;
  }
  log.info("runner ready", {
    addresses: settings.grpcServers.flatMap(({ listenAddresses, listenPaths }) => [
      ...listenAddresses,
      ...listenPaths,
    ]),
    buildDirectory: settings.buildDirectoryPath,
  });
  const resources = begun.move();
  return {
    page: runnerPage(commands, settings, hold, cgroups !== undefined),
    async close(graceMilliseconds) {
      await stop(graceMilliseconds);
      await resources.disposeAsync();
    },
  };
}

function connectInstaller(
  endpoint: GrpcEndpoint,
  callCounts: CallCounts | undefined,
): {
  readonly client: TemporaryDirectoryInstaller;
  readonly channel: Channel;
} {
  const channel = openChannel(endpoint);
  const client = createClient(InstallerService, channel, { tracing: endpoint.tracing, callCounts });
  return { client: new TemporaryDirectoryInstaller(client), channel };
}

/** Undefined, and the log says why, if commands can have no cgroups. */
async function divideCgroup({ confinement }: BbRunnerSettings, log: Log): Promise<Cgroups | undefined> {
  const { maximumProcesses, maximumMemoryBytes, cpuWeight } = confinement;
  const limits = { maximumProcesses, maximumMemoryBytes, cpuWeight };
  try {
    return await Cgroups.divideOwn(limits, (path) => log.warn("a cgroup's processes do not end", { path }));
  } catch (error) {
    log.warn(
      "commands have no cgroups: those of root can start processes, and all can take memory, until the machine has none; " +
        "give the runner a cgroup of version 2 that it may divide",
      { error: (error as Error).message },
    );
    return undefined;
  }
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

function addRunnerService(server: Server, runner: Runner, calls: Calls, commands: Commands, log: Log): void {
  const served = <T>(
    { path, signal }: CallContext,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> => {
    const respond = async () => {
      try {
        const response = await work(AbortSignal.any([signal, calls.ending]));
        if (calls.ending.aborted) {
          throw shuttingDown();
        }
        return response;
      } catch (error) {
        if (!signal.aborted) {
          const { code, message } = statusFromError(error);
          log.warn("call failed", { method: path, code, error: message });
        }
        throw error;
      }
    };
    const response = respond();
    calls.add(response);
    return response;
  };
  addService(server, RunnerService, {
    checkReadiness: unary(({ path }: CheckReadinessRequest, context) =>
      served(context, async (signal) => {
        await runner.checkReadiness(path, signal, context);
        return {};
      }),
    ),
    run: unary((request: RunRequest, context) =>
      served(context, (signal) => commands.watch(request, () => runner.run(request, signal, context))),
    ),
  });
}

function shuttingDown(): StatusError {
  return failure(Code.UNAVAILABLE, "the runner is shutting down");
}
