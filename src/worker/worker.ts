import { statSync } from "node:fs";
import { Semaphore } from "../async/semaphore.ts";
import { FileSystemAccessCacheClient } from "../cas/file-system-access-cache.ts";
import { createStorageClient, type StorageClient } from "../cas/storage-client.ts";
import type { BbWorkerSettings } from "../config/bb-worker/application.ts";
import { CompletedActionLogger as CompletedActionLoggerService } from "../proto/gen/buildbarn/completedactionlogger/completed_action_logger_pb.ts";
import { OperationQueue } from "../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { DIGEST_FUNCTIONS_READY } from "../reapi/digest.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics/metrics.ts";
import type { StatusPage } from "../telemetry/page/status-page.ts";
import type { Tracer } from "../telemetry/tracing/spans.ts";
import { BlockFilePool, DirectoryFilePool, type FilePool, MemoryFilePool } from "../vfs/index.ts";
import { TestInfrastructureFailures } from "./action/test-infrastructure-failures.ts";
import { BoundedFilePool } from "./build-directory/bounded-file-pool.ts";
import { BuildDirectoryServer, type MountTree } from "./build-directory/build-directory-server.ts";
import { ExecutionTimeouts } from "./compensation/execution-timeouts.ts";
import { HttpCompensator } from "./compensation/http-compensator.ts";
import { CompletedActionLogger } from "./completed-actions/completed-action-logger.ts";
import type { CompletedActionLogging } from "./completed-actions/completed-action-logging.ts";
import { connect } from "./connect.ts";
import { NativeBuildDirectory } from "./native/native-build-directory.ts";
import { workerPage } from "./page/worker-page.ts";
import type { PrefetchingOptions } from "./prefetching/prefetching.ts";
import type { BuildClient } from "./scheduler/build-client.ts";
import { WorkerWatch } from "./telemetry/worker-watch.ts";
import { buildDirectoryThreads, ofNative, ofVirtual } from "./threads.ts";

export interface WorkerOptions {
  /** Whether whatever is at the place of the blob cache is overwritten. */
  readonly reformat?: boolean;
  /** Gets all that is counted; without it, little is. */
  readonly metrics?: Metrics | undefined;
  /** Begins spans; without it, there are none. */
  readonly tracer?: Tracer | undefined;
}

/** A worker process: storage, build directories and the threads that take work. */
export class Worker {
  readonly storage: StorageClient;
  /** Resolves with the reason when a build directory or the storage cannot be used: stop at once, and start again. */
  readonly lost: Promise<Error>;
  /** For people. */
  readonly page: StatusPage;
  readonly #resources: AsyncDisposableStack;
  readonly #drain = new AbortController();
  readonly #handBack = new AbortController();
  readonly #threads: Promise<void>[] = [];

  private constructor(
    storage: StorageClient,
    lost: Promise<Error>,
    page: StatusPage,
    resources: AsyncDisposableStack,
  ) {
    this.storage = storage;
    this.lost = lost;
    this.page = page;
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
    options: WorkerOptions = {},
  ): Promise<Worker> {
    await using resources = new AsyncDisposableStack();
    const watch = new WorkerWatch(options.metrics, options.tracer);
    const storage = resources.use(await openStorage(configuration, log, options, watch));
    const pool = watch.filePool(openFilePool(configuration.filePool, resources));
    const { callCounts } = watch;
    const { client: scheduler } = connect(OperationQueue, configuration.scheduler, resources, callCounts);

    const inputDownloads = new Semaphore(configuration.inputDownloadConcurrency);
    const prefetching = prefetchingOptions(configuration, storage, inputDownloads, watch, resources, log);
    const loggings = completedActionLoggings(configuration, watch, resources, log);
    const executionTimeouts = compensatedTimeouts(configuration, resources, log);
    const infrastructureFailures = new TestInfrastructureFailures();
    const clients: BuildClient[] = [];
    const lost: Promise<Error>[] = [];
    for (const settings of configuration.buildDirectories) {
      const context = {
        configuration,
        storage,
        pool,
        loggings,
        executionTimeouts,
        infrastructureFailures,
        scheduler,
        watch,
        resources,
        log,
      };
      if (settings.backend === "native") {
        const directory = resources.use(await NativeBuildDirectory.open(settings, storage, inputDownloads));
        watch.nativeDirectories.push(directory);
        clients.push(...buildDirectoryThreads(context, ofNative(settings, directory, configuration)));
      } else {
        const server = resources.use(
          await BuildDirectoryServer.start(settings, storage, pool, mount, log, signal),
        );
        lost.push(server.lost);
        watch.mounts.push(server);
        clients.push(
          ...buildDirectoryThreads(context, ofVirtual(settings, server, prefetching, configuration)),
        );
      }
    }
    watch.observe(storage, clients.length);
    await DIGEST_FUNCTIONS_READY;
    signal?.throwIfAborted();
    const failed = Promise.withResolvers<Error>();
    lost.push(failed.promise);
    const page = workerPage(watch, storage, pool, clients.length);
    const worker = new Worker(storage, Promise.race(lost), page, resources.move());
    // Not waited for: the scheduler can be asked for work meanwhile.
    storage.start().catch((error: Error) => {
      if (!worker.#drain.signal.aborted) {
        failed.resolve(error);
      }
    });
    worker.#threads.push(
      ...clients.map((client) => client.run(worker.#drain.signal, worker.#handBack.signal)),
    );
    logCaches(log, storage, pool);
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

/** What the caches hold already, and can. */
function logCaches(log: Log, storage: StorageClient, pool: FilePool): void {
  const { capacity } = storage;
  const { diskBlobs, diskBytes } = storage.statistics();
  const { totalBytes, freeBytes } = pool.space();
  log.info("caches found", {
    diskBlobs,
    diskBytes,
    maximumDiskBytes: capacity.diskBytes,
    maximumMemoryBytes: capacity.memoryBytes,
    maximumDirectories: capacity.directoryCount,
    filePoolBytes: totalBytes,
    filePoolFreeBytes: freeBytes,
  });
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
  watch: WorkerWatch,
  resources: AsyncDisposableStack,
  log: Log,
): readonly CompletedActionLogging[] {
  return completedActionLoggers.map(({ endpoint, maximumSendQueueSize, addInstanceNamePrefix }) => {
    const { client } = connect(CompletedActionLoggerService, endpoint, resources, watch.callCounts);
    const logger = new CompletedActionLogger({
      client,
      maximumQueueSize: maximumSendQueueSize,
      log: log.with({ completedActionLogger: endpoint.address }),
    });
    watch.addLogger(logger);
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
  { callCounts }: WorkerWatch,
  resources: AsyncDisposableStack,
  log: Log,
): PrefetchingOptions | undefined {
  if (prefetching === undefined || buildDirectories.every(({ backend }) => backend === "native")) {
    return undefined;
  }
  return {
    cache: resources.use(
      new FileSystemAccessCacheClient(prefetching.fileSystemAccessCache, undefined, callCounts),
    ),
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
  { callCounts }: WorkerWatch,
): Promise<StorageClient> {
  return createStorageClient({
    contentAddressableStorage: configuration.contentAddressableStorage,
    actionCache: configuration.actionCache,
    localStore: configuration.blobCache,
    ...(options.reformat !== undefined && { reformat: options.reformat }),
    log,
    directoryCache: configuration.directoryCache,
    maximumMessageSizeBytes: configuration.maximumMessageSizeBytes,
    uploadConcurrency: configuration.outputUploadConcurrency,
    callCounts: callCounts?.shared,
    kubernetesResolvers: configuration.kubernetesResolvers,
    metrics: options.metrics,
  });
}
