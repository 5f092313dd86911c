import { statSync } from "node:fs";
import { Semaphore } from "../async/semaphore.ts";
import { FileSystemAccessCacheClient } from "../cas/file-system-access-cache.ts";
import { createStorageClient, type StorageClient } from "../cas/storage-client.ts";
import type { BbWorkerSettings } from "../config/bb-worker/application.ts";
import type {
  NativeBuildDirectorySettings,
  VirtualBuildDirectorySettings,
} from "../config/bb-worker/build-directory.ts";
import type { RunnerSettings } from "../config/bb-worker/runner.ts";
import type { Client } from "../grpc/client.ts";
import { CompletedActionLogger as CompletedActionLoggerService } from "../proto/gen/buildbarn/completedactionlogger/completed_action_logger_pb.ts";
import { OperationQueue } from "../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { Runner } from "../proto/gen/buildbarn/runner/runner_pb.ts";
import type { Log } from "../telemetry/log.ts";
import { ProblemLog } from "../telemetry/problem-log.ts";
import { BlockFilePool, DirectoryFilePool, type FilePool, MemoryFilePool } from "../vfs/index.ts";
import { actionBlobAccess } from "./action/action-blob-access.ts";
import { actionDirectories, type CreateActionDirectory } from "./action/action-directory.ts";
import { createExecutor, type ExecutorOptions } from "./action/executor.ts";
import { TestInfrastructureFailures } from "./action/test-infrastructure-failures.ts";
import { BoundedFilePool } from "./build-directory/bounded-file-pool.ts";
import { BuildDirectoryServer, type MountTree } from "./build-directory/build-directory-server.ts";
import { ExecutionTimeouts } from "./compensation/execution-timeouts.ts";
import { HttpCompensator } from "./compensation/http-compensator.ts";
import { CompletedActionLogger } from "./completed-actions/completed-action-logger.ts";
import {
  type CompletedActionLogging,
  logCompletedActions,
} from "./completed-actions/completed-action-logging.ts";
import { type Connection, connect, untilConnected } from "./connect.ts";
import { NativeBuildDirectory } from "./native/native-build-directory.ts";
import type { PrefetchingOptions } from "./prefetching/prefetching.ts";
import { BuildClient } from "./scheduler/build-client.ts";
import { checkReadiness } from "./scheduler/readiness.ts";

/** How long an action waits for a runner that went away after the thread asked for work. */
const RUNNER_RECONNECT_MILLISECONDS = 10_000;

export interface WorkerOptions {
  /** Whether whatever is at the place of the blob cache is overwritten. */
  readonly reformat: boolean;
}

/** A worker process: storage, build directories and the threads that take work. */
export class Worker {
  readonly storage: StorageClient;
  /** Resolves with the reason when a build directory has become unusable: stop at once, and start again. */
  readonly lost: Promise<Error>;
  readonly #resources: AsyncDisposableStack;
  readonly #drain = new AbortController();
  readonly #handBack = new AbortController();
  readonly #threads: Promise<void>[] = [];

  private constructor(storage: StorageClient, lost: Promise<Error>, resources: AsyncDisposableStack) {
    this.storage = storage;
    this.lost = lost;
    this.#resources = resources;
  }

  /**
   * Opens or mounts the build directories and begins to take work.
   *
   * Rejects with MountError or BlobError, or with the signal's reason if it aborts meanwhile; nothing is then left
   * behind.
   */
  static async start(
    configuration: BbWorkerSettings,
    mount: MountTree,
    log: Log,
    signal?: AbortSignal,
    options: WorkerOptions = { reformat: false },
  ): Promise<Worker> {
    await using resources = new AsyncDisposableStack();
    const storage = resources.use(await openStorage(configuration, log, options));
    const pool = openFilePool(configuration.filePool, resources);
    const { client: scheduler } = connect(OperationQueue, configuration.scheduler, resources);

    const inputDownloads = new Semaphore(configuration.inputDownloadConcurrency);
    const prefetching = prefetchingOptions(configuration, storage, inputDownloads, resources, log);
    const loggings = completedActionLoggings(configuration, resources, log);
    const executionTimeouts = compensatedTimeouts(configuration, resources, log);
    const infrastructureFailures = new TestInfrastructureFailures();
    const clients: BuildClient[] = [];
    const lost: Promise<Error>[] = [];
    for (const settings of configuration.buildDirectories) {
      const context = {
        configuration,
        storage,
        loggings,
        executionTimeouts,
        infrastructureFailures,
        scheduler,
        resources,
        log,
      };
      if (settings.backend === "native") {
        const directory = await NativeBuildDirectory.open(settings, storage, inputDownloads);
        clients.push(
          ...buildDirectoryThreads(context, ofNative(settings, resources.use(directory), configuration)),
        );
      } else {
        const server = resources.use(
          await BuildDirectoryServer.start(settings, storage, pool, mount, log, signal),
        );
        lost.push(server.lost);
        clients.push(
          ...buildDirectoryThreads(context, ofVirtual(settings, server, prefetching, configuration)),
        );
      }
    }
    await storage.start();
    signal?.throwIfAborted();
    const worker = new Worker(storage, Promise.race(lost), resources.move());
    worker.#threads.push(
      ...clients.map((client) => client.run(worker.#drain.signal, worker.#handBack.signal)),
    );
    log.info("ready for work", { threads: clients.length });
    return worker;
  }

  /**
   * Takes no more work, waits for running actions, for at most `graceMilliseconds` if that is given, hands back those
   * that have not ended, and unmounts.
   */
  async stop(graceMilliseconds?: number): Promise<void> {
    this.#drain.abort();
    const timer =
      graceMilliseconds === undefined ? undefined : setTimeout(() => this.handBack(), graceMilliseconds);
    await Promise.all(this.#threads);
    clearTimeout(timer);
    // What a killed command was reading keeps the kernel from letting go of the mount until it is answered.
    await this.storage.endTransfers();
    await this.#resources.disposeAsync();
  }

  /** Cuts short the grace of {@link stop}: hands back running actions now. */
  handBack(): void {
    this.#handBack.abort();
  }
}

interface BuildDirectoryContext {
  readonly configuration: BbWorkerSettings;
  readonly storage: StorageClient;
  readonly loggings: readonly CompletedActionLogging[];
  readonly executionTimeouts: ExecutionTimeouts;
  readonly infrastructureFailures: TestInfrastructureFailures;
  readonly scheduler: Client<typeof OperationQueue>;
  readonly resources: AsyncDisposableStack;
  readonly log: Log;
}

/** What the two kinds of build directories have each in their own way. */
interface BuildDirectory
  extends Pick<ExecutorOptions, "prefetching" | "reportsUnknownAccess" | "maximumTimeoutCompensation"> {
  readonly runners: readonly RunnerSettings[];
  readonly actionDirectories: (runner: RunnerSettings) => CreateActionDirectory;
  /** Milliseconds. */
  readonly maximumUploadDelay: number;
}

function ofVirtual(
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
        nextName: () => server.nextName(),
        sync: () => server.sync(),
      }),
    prefetching,
    maximumTimeoutCompensation: settings.maximumExecutionTimeoutCompensation,
    maximumUploadDelay: settings.maximumWritableFileUploadDelay,
  };
}

function ofNative(
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
  };
}

/** The clients of all threads of the runners of a build directory. */
function buildDirectoryThreads(context: BuildDirectoryContext, directory: BuildDirectory): BuildClient[] {
  return directory.runners.flatMap((runner) =>
    runnerThreads(context, directory, runner, connect(Runner, runner.endpoint, context.resources)),
  );
}

/** Composes everything that a runner's actions go through. */
function runnerThreads(
  {
    configuration,
    storage,
    loggings,
    executionTimeouts,
    infrastructureFailures,
    scheduler,
    log,
  }: BuildDirectoryContext,
  directory: BuildDirectory,
  settingsOfRunner: RunnerSettings,
  { client: runner, channel }: Connection<typeof Runner>,
): BuildClient[] {
  const { concurrency, maximumConsecutiveTestInfrastructureFailures } = settingsOfRunner;
  const owner = { ...settingsOfRunner.buildDirectoryOwner, supplementaryGroupIds: [] };
  const createDirectory = directory.actionDirectories(settingsOfRunner);
  const blobAccess = actionBlobAccess(storage, directory.maximumUploadDelay);
  const problems = new ProblemLog(log.with({ runner: settingsOfRunner.endpoint.address }));

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
      executionTimeouts,
      forceUploadTreesAndDirectories: configuration.forceUploadTreesAndDirectories,
      costsPerSecond: settingsOfRunner.costsPerSecond,
      infrastructureFailures,
      maximumConsecutiveInfrastructureFailures: maximumConsecutiveTestInfrastructureFailures,
      browserUrl: configuration.browserUrl,
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

/** In a file, as Buildbarn's; where there is a folder, in files in it. Without settings, one that nothing fits into. */
function openFilePool(settings: BbWorkerSettings["filePool"], resources: AsyncDisposableStack): FilePool {
  if (settings === undefined) {
    return new MemoryFilePool(0);
  }
  const { path, maximumSizeBytes } = settings;
  if (maximumSizeBytes !== undefined && statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    return new BoundedFilePool(new DirectoryFilePool(path), maximumSizeBytes);
  }
  return resources.use(new BlockFilePool(path, maximumSizeBytes));
}

/** One connection to each logger, for all threads. */
function completedActionLoggings(
  { completedActionLoggers }: BbWorkerSettings,
  resources: AsyncDisposableStack,
  log: Log,
): readonly CompletedActionLogging[] {
  return completedActionLoggers.map(({ endpoint, maximumSendQueueSize, addInstanceNamePrefix }) => {
    const { client } = connect(CompletedActionLoggerService, endpoint, resources);
    const logger = new CompletedActionLogger({
      client,
      maximumQueueSize: maximumSendQueueSize,
      log: log.with({ completedActionLogger: endpoint.address }),
    });
    return { logger: resources.use(logger), addInstanceNamePrefix };
  });
}

/** What stops and continues the timeouts of all threads' commands, and those that have it do so. */
function compensatedTimeouts(
  { httpExecutionTimeoutCompensators }: BbWorkerSettings,
  resources: AsyncDisposableStack,
  log: Log,
): ExecutionTimeouts {
  const timeouts = new ExecutionTimeouts();
  for (const settings of httpExecutionTimeoutCompensators) {
    resources.use(new HttpCompensator({ settings, timeouts, log }));
  }
  return timeouts;
}

function prefetchingOptions(
  { prefetching, buildDirectories }: BbWorkerSettings,
  source: StorageClient,
  batches: Semaphore,
  resources: AsyncDisposableStack,
  log: Log,
): PrefetchingOptions | undefined {
  if (prefetching === undefined || buildDirectories.every(({ backend }) => backend === "native")) {
    return undefined;
  }
  return {
    cache: resources.use(new FileSystemAccessCacheClient(prefetching.fileSystemAccessCache)),
    source,
    filterSize: {
      bitsPerPath: prefetching.bloomFilterBitsPerPath,
      maximumSizeBytes: prefetching.bloomFilterMaximumSizeBytes,
    },
    batches,
    log,
  };
}

async function openStorage(
  configuration: BbWorkerSettings,
  log: Log,
  options: WorkerOptions,
): Promise<StorageClient> {
  return createStorageClient({
    contentAddressableStorage: configuration.contentAddressableStorage,
    actionCache: configuration.actionCache,
    localStore: configuration.blobCache,
    reformat: options.reformat,
    log,
    directoryCache: configuration.directoryCache,
    maximumMessageSizeBytes: configuration.maximumMessageSizeBytes,
    uploadConcurrency: configuration.outputUploadConcurrency,
  });
}
