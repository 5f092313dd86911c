import { connectivityState } from "@grpc/grpc-js";
import type { StorageClient } from "../cas/storage-client.ts";
import type { BbWorkerSettings } from "../config/bb-worker/application.ts";
import {
  DEFAULT_UPLOAD_DURATION,
  type NativeBuildDirectorySettings,
  type VirtualBuildDirectorySettings,
} from "../config/bb-worker/build-directory.ts";
import type { RunnerSettings } from "../config/bb-worker/runner.ts";
import type { Client } from "../grpc/client.ts";
import type { OperationQueue } from "../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { Runner } from "../proto/gen/buildbarn/runner/runner_pb.ts";
import type { Log } from "../telemetry/log.ts";
import { ProblemLog } from "../telemetry/problem-log.ts";
import type { FilePool } from "../vfs/index.ts";
import { actionBlobAccess } from "./action/action-blob-access.ts";
import { actionDirectories, type CreateActionDirectory } from "./action/action-directory.ts";
import { createExecutor, type ExecutorOptions } from "./action/executor.ts";
import type { TestInfrastructureFailures } from "./action/test-infrastructure-failures.ts";
import type { BuildDirectoryServer } from "./build-directory/build-directory-server.ts";
import type { ExecutionTimeouts } from "./compensation/execution-timeouts.ts";
import {
  type CompletedActionLogging,
  logCompletedActions,
} from "./completed-actions/completed-action-logging.ts";
import { type Connection, connect, untilConnected } from "./connect.ts";
import type { NativeBuildDirectory } from "./native/native-build-directory.ts";
import type { PrefetchingOptions } from "./prefetching/prefetching.ts";
import { BuildClient } from "./scheduler/build-client.ts";
import { checkReadiness } from "./scheduler/readiness.ts";
import type { WorkerWatch } from "./telemetry/worker-watch.ts";

/** How long an action waits for a runner that went away after the thread asked for work. */
const RUNNER_RECONNECT_MILLISECONDS = 10_000;

/** What the threads of all build directories have in common. */
export interface ThreadsContext {
  readonly configuration: BbWorkerSettings;
  readonly storage: StorageClient;
  readonly pool: FilePool;
  readonly loggings: readonly CompletedActionLogging[];
  readonly executionTimeouts: ExecutionTimeouts;
  readonly infrastructureFailures: TestInfrastructureFailures;
  readonly scheduler: Client<typeof OperationQueue>;
  readonly watch: WorkerWatch;
  readonly resources: AsyncDisposableStack;
  readonly log: Log;
}

/** What the two kinds of build directories have each in their own way. */
export interface BuildDirectory
  extends Pick<
    ExecutorOptions,
    "prefetching" | "reportsUnknownAccess" | "maximumTimeoutCompensation" | "maximumUploadDuration"
  > {
  readonly runners: readonly RunnerSettings[];
  readonly actionDirectories: (runner: RunnerSettings) => CreateActionDirectory;
  /** Milliseconds. */
  readonly maximumUploadDelay: number;
}

export function ofVirtual(
  settings: VirtualBuildDirectorySettings,
  server: BuildDirectoryServer,
  prefetching: PrefetchingOptions | undefined,
  { filePool }: BbWorkerSettings,
): BuildDirectory {
  return {
    runners: settings.runners,
    actionDirectories: ({ maximumFilePoolFileCount, maximumFilePoolSizeBytes, buildDirectoryOwner }) =>
      actionDirectories({
        tree: server.tree,
        owner: buildDirectoryOwner,
        quota: filePool
          ? { maximumFileCount: maximumFilePoolFileCount, maximumSizeBytes: maximumFilePoolSizeBytes }
          : { maximumFileCount: 0, maximumSizeBytes: 0 },
        nameFor: (actionDigest) => server.nameFor(actionDigest),
        untilVisible: (name) => server.untilVisible(name),
        sync: () => server.sync(),
      }),
    prefetching,
    maximumTimeoutCompensation: settings.maximumExecutionTimeoutCompensation,
    maximumUploadDelay: settings.maximumWritableFileUploadDelay,
    maximumUploadDuration: settings.maximumOutputUploadDuration,
  };
}

export function ofNative(
  settings: NativeBuildDirectorySettings,
  directory: NativeBuildDirectory,
  { prefetching }: BbWorkerSettings,
): BuildDirectory {
  return {
    runners: settings.runners,
    actionDirectories: () => (options) => directory.createActionDirectory(options),
    // Nobody sees what an action reads: to store that it reads nothing would spoil what other workers have learned.
    prefetching: undefined,
    reportsUnknownAccess: prefetching !== undefined,
    // Everything is there before the command runs, and there when it has ended.
    maximumTimeoutCompensation: 0,
    maximumUploadDelay: 0,
    maximumUploadDuration: DEFAULT_UPLOAD_DURATION,
  };
}

/** The clients of all threads of the runners of a build directory. */
export function buildDirectoryThreads(context: ThreadsContext, directory: BuildDirectory): BuildClient[] {
  return directory.runners.flatMap((runner) =>
    runnerThreads(
      context,
      directory,
      runner,
      connect(Runner, runner.endpoint, context.resources, context.watch.callCounts),
    ),
  );
}

/** Composes everything that a runner's actions go through. */
function runnerThreads(
  {
    configuration,
    storage,
    pool,
    loggings,
    executionTimeouts,
    infrastructureFailures,
    scheduler,
    watch,
    log,
  }: ThreadsContext,
  directory: BuildDirectory,
  settingsOfRunner: RunnerSettings,
  { client: runner, channel }: Connection<typeof Runner>,
): BuildClient[] {
  const { concurrency, maximumConsecutiveTestInfrastructureFailures } = settingsOfRunner;
  const owner = { ...settingsOfRunner.buildDirectoryOwner, supplementaryGroupIds: [] };
  const createDirectory = directory.actionDirectories(settingsOfRunner);
  const blobAccess = actionBlobAccess(storage, {
    maximumUploadDelay: directory.maximumUploadDelay,
    filePoolBytes: () => pool.space().totalBytes,
  });
  const problems = new ProblemLog(log.with({ runner: settingsOfRunner.endpoint.address }));

  watch.runners.push({
    address: settingsOfRunner.endpoint.address,
    concurrency,
    connection: () => connectivityState[channel.getConnectivityState(false)] ?? "",
    problem: () => problems.current,
  });

  return Array.from({ length: concurrency }, (_, thread) => {
    const workerId = workerIdOf(settingsOfRunner, thread);
    const execute = createExecutor({
      blobAccess,
      inputs: storage,
      createDirectory,
      prefetching: directory.prefetching,
      reportsUnknownAccess: directory.reportsUnknownAccess ?? false,
      runner: {
        run: async (request, options) => {
          await untilConnected(channel, RUNNER_RECONNECT_MILLISECONDS);
          return runner.run(request, options);
        },
      },
      instanceNamePrefix: settingsOfRunner.instanceNamePrefix,
      characterDevices: settingsOfRunner.inputRootCharacterDeviceNodes,
      owner,
      environmentVariables: settingsOfRunner.environmentVariables,
      workerName: JSON.stringify(workerId),
      maximumTimeoutCompensation: directory.maximumTimeoutCompensation,
      maximumUploadDuration: directory.maximumUploadDuration,
      executionTimeouts,
      forceUploadTreesAndDirectories: configuration.forceUploadTreesAndDirectories,
      costsPerSecond: settingsOfRunner.costsPerSecond,
      infrastructureFailures,
      maximumConsecutiveInfrastructureFailures: maximumConsecutiveTestInfrastructureFailures,
      browserUrl: configuration.browserUrl,
      runningActions: watch.runningActions,
      metrics: watch.actionMetrics,
      tracer: watch.tracer,
      log,
    });
    return new BuildClient({
      queue: scheduler,
      workerId,
      instanceNamePrefix: settingsOfRunner.instanceNamePrefix,
      platform: settingsOfRunner.platform,
      sizeClass: settingsOfRunner.sizeClass,
      execute: logCompletedActions(execute, loggings, settingsOfRunner.instanceNamePrefix),
      checkReadiness: async (signal) => {
        if (maximumConsecutiveTestInfrastructureFailures !== undefined) {
          infrastructureFailures.signal.throwIfAborted();
        }
        await checkReadiness(runner, createDirectory, signal);
        problems.over("takes work again");
      },
      onError: (message, error) => problems.report(message, error),
    });
  });
}

/** "thread" distinguishes a runner's threads, in a form that sorts by number. */
function workerIdOf({ workerId, concurrency }: RunnerSettings, thread: number): Record<string, string> {
  const digits = String(concurrency - 1).length;
  const all = { ...(concurrency > 1 && { thread: String(thread).padStart(digits, "0") }), ...workerId };
  return Object.fromEntries(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1)));
}
