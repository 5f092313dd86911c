import { statSync } from "node:fs";
import { Semaphore } from "../async/semaphore.ts";
import { FileSystemAccessCacheClient } from "../cas/file-system-access-cache.ts";
import { createStorageClient, type StorageClient } from "../cas/storage-client.ts";
import type { BbWorkerSettings } from "../config/bb-worker/application.ts";
import type { BuildDirectorySettings } from "../config/bb-worker/build-directory.ts";
import type { RunnerSettings } from "../config/bb-worker/runner.ts";
import type { Client } from "../grpc/client.ts";
import { OperationQueue } from "../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { Runner } from "../proto/gen/buildbarn/runner/runner_pb.ts";
import type { Log } from "../telemetry/log.ts";
import { BlockFilePool, DirectoryFilePool, type FilePool, MemoryFilePool } from "../vfs/index.ts";
import { actionBlobAccess } from "./action/action-blob-access.ts";
import { actionDirectories, type CreateActionDirectory } from "./action/action-directory.ts";
import { createExecutor } from "./action/executor.ts";
import { TestInfrastructureFailures } from "./action/test-infrastructure-failures.ts";
import { BoundedFilePool } from "./build-directory/bounded-file-pool.ts";
import { BuildDirectoryServer, type MountTree } from "./build-directory/build-directory-server.ts";
import { type Connection, connect, untilConnected } from "./connect.ts";
import type { PrefetchingOptions } from "./prefetching/prefetching.ts";
import { BuildClient } from "./scheduler/build-client.ts";
import { checkReadiness, ProblemLog } from "./scheduler/readiness.ts";

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
   * Mounts the build directories and begins to take work.
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

    const prefetching = prefetchingOptions(configuration, storage, resources, log);
    const infrastructureFailures = new TestInfrastructureFailures();
    const clients: BuildClient[] = [];
    const lost: Promise<Error>[] = [];
    for (const settings of configuration.buildDirectories) {
      const server = resources.use(
        await BuildDirectoryServer.start(settings, storage, pool, mount, log, signal),
      );
      lost.push(server.lost);
      const context = {
        configuration,
        settings,
        storage,
        pool,
        prefetching,
        infrastructureFailures,
        scheduler,
        resources,
        log,
      };
      clients.push(...buildDirectoryThreads(context, server));
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
    await this.#resources.disposeAsync();
  }

  /** Cuts short the grace of {@link stop}: hands back running actions now. */
  handBack(): void {
    this.#handBack.abort();
  }
}

interface BuildDirectoryContext {
  readonly configuration: BbWorkerSettings;
  readonly settings: BuildDirectorySettings;
  readonly storage: StorageClient;
  readonly pool: FilePool;
  readonly prefetching: PrefetchingOptions | undefined;
  readonly infrastructureFailures: TestInfrastructureFailures;
  readonly scheduler: Client<typeof OperationQueue>;
  readonly resources: AsyncDisposableStack;
  readonly log: Log;
}

/** The clients of all threads of the runners of a build directory. */
function buildDirectoryThreads(context: BuildDirectoryContext, server: BuildDirectoryServer): BuildClient[] {
  const { settings, resources } = context;
  return settings.runners.flatMap((runner) =>
    runnerThreads(context, server, runner, connect(Runner, runner.endpoint, resources)),
  );
}

/** Composes everything that a runner's actions go through. */
function runnerThreads(
  {
    configuration,
    settings,
    storage,
    pool,
    prefetching,
    infrastructureFailures,
    scheduler,
    log,
  }: BuildDirectoryContext,
  server: BuildDirectoryServer,
  settingsOfRunner: RunnerSettings,
  { client: runner, channel }: Connection<typeof Runner>,
): BuildClient[] {
  const {
    maximumFilePoolFileCount,
    maximumFilePoolSizeBytes,
    concurrency,
    maximumConsecutiveTestInfrastructureFailures,
  } = settingsOfRunner;
  const owner = { ...settingsOfRunner.buildDirectoryOwner, supplementaryGroupIds: [] };
  const createDirectory: CreateActionDirectory = actionDirectories({
    tree: server.tree,
    owner,
    quota: configuration.filePool
      ? { maximumFileCount: maximumFilePoolFileCount, maximumSizeBytes: maximumFilePoolSizeBytes }
      : { maximumFileCount: 0, maximumSizeBytes: 0 },
    nextName: () => server.nextName(),
    sync: () => server.sync(),
  });
  const blobAccess = actionBlobAccess(storage, {
    maximumUploadDelay: settings.maximumWritableFileUploadDelay,
    filePoolBytes: () => pool.space().totalBytes,
  });
  const problems = new ProblemLog(log.with({ runner: settingsOfRunner.endpoint.address }));

  return Array.from({ length: concurrency }, (_, thread) => {
    const workerId = workerIdOf(settingsOfRunner, thread);
    return new BuildClient({
      queue: scheduler,
      workerId,
      instanceNamePrefix: settingsOfRunner.instanceNamePrefix,
      platform: settingsOfRunner.platform,
      sizeClass: settingsOfRunner.sizeClass,
      execute: createExecutor({
        blobAccess,
        inputs: storage,
        createDirectory,
        prefetching,
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
        maximumTimeoutCompensation: settings.maximumExecutionTimeoutCompensation,
        maximumUploadDuration: settings.maximumOutputUploadDuration,
        forceUploadTreesAndDirectories: configuration.forceUploadTreesAndDirectories,
        costsPerSecond: settingsOfRunner.costsPerSecond,
        infrastructureFailures,
        maximumConsecutiveInfrastructureFailures: maximumConsecutiveTestInfrastructureFailures,
        browserUrl: configuration.browserUrl,
        log,
      }),
      checkReadiness: async (signal) => {
        if (maximumConsecutiveTestInfrastructureFailures !== undefined) {
          infrastructureFailures.signal.throwIfAborted();
        }
        await checkReadiness(runner, createDirectory, signal);
        problems.over();
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

/** Prefetching is one for the process: its bound holds for all actions together. */
function prefetchingOptions(
  { prefetching, inputDownloadConcurrency }: BbWorkerSettings,
  source: StorageClient,
  resources: AsyncDisposableStack,
  log: Log,
): PrefetchingOptions | undefined {
  return (
    prefetching && {
      cache: resources.use(new FileSystemAccessCacheClient(prefetching.fileSystemAccessCache)),
      source,
      filterSize: {
        bitsPerPath: prefetching.bloomFilterBitsPerPath,
        maximumSizeBytes: prefetching.bloomFilterMaximumSizeBytes,
      },
      batches: new Semaphore(inputDownloadConcurrency),
      log,
    }
  );
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
