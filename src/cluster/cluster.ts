import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { kernelCanMountNfs } from "../in-kernel/host-kernel.ts";
import { GUEST_ADDRESS, GUEST_NETWORK, HOST_ADDRESS } from "../in-kernel/network.ts";
import { relay } from "../in-kernel/relay.ts";
import {
  type RunnerPool,
  runnerConfiguration,
  type WorkerHostSettings,
  type WorkerPlaces,
  workerConfiguration,
} from "./configurations.ts";
import { Lifeline } from "./lifeline.ts";
import type { BuildQueue } from "./scheduler/build-queue.ts";
import type { BuildQueueOptions } from "./scheduler/build-queue-options.ts";
import { ClusterServer } from "./server.ts";
import type { EmbeddedStorage } from "./storage/embedded-storage.ts";
import type { ReadInterceptor } from "./storage/served-blobs.ts";
import { type Kernel, WorkerHostProcess } from "./worker-host-process.ts";

export interface ClusterOptions {
  /** Holds all that stays: blobs, action results, the worker's log. Only one cluster at a time may use it. */
  readonly folder: string;
  /** Where clients connect, "HOST:PORT"; port 0 for a free one. Default "localhost:8980". */
  readonly listen?: string;
  /** Default: {@link defaultPools} with 8 actions at the same time. */
  readonly pools?: readonly RunnerPool[];
  /** Where worker and runners run. Default: on this kernel if it can mount NFS, otherwise in user-mode Linux. */
  readonly kernel?: Kernel;
  /** What blobs may take on the disk; beyond that, those used longest ago go. Default 32 GiB. */
  readonly maximumStorageBytes?: number;
  /** Where the worker's page, metrics and profiles are served, "HOST:PORT"; by default nowhere. */
  readonly diagnostics?: string;
  readonly scheduler?: BuildQueueOptions;
  /** See {@link ReadInterceptor}. */
  readonly onRead?: ReadInterceptor;
}

const DEFAULT_STORAGE_BYTES = 32 * 1024 ** 3;
/** How long it may take until the scheduler has heard of every worker thread. */
const START_MILLISECONDS = 120_000;
/** Longer than the worker host gives worker and runners. */
const STOP_MILLISECONDS = 60_000;

/** The platform property by which an action asks to see nothing but its input root. */
export const CHROOT_PROPERTY = { name: "chroot-into-input-root", value: "true" };

/**
 * Two pools, each for `concurrency` actions at the same time: one for actions without platform properties, such
 * as Bazel's, which see this machine's file system beside their inputs; and one for those with
 * {@link CHROOT_PROPERTY}.
 */
export function defaultPools(concurrency: number): RunnerPool[] {
  return [
    { name: "plain", concurrency, platform: {}, chrootIntoInputRoot: false },
    {
      name: "chroot",
      concurrency,
      platform: { properties: [CHROOT_PROPERTY] },
      chrootIntoInputRoot: true,
    },
  ];
}

/**
 * Starts a whole cluster: scheduler and storage in this process, worker and runners as processes of their own in a
 * private mount namespace or in user-mode Linux. Resolves when all workers are ready.
 *
 * If that is not possible, rejects with an error that says what to do, and leaves nothing behind.
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const folder = resolve(options.folder);
  const kernel = options.kernel ?? (kernelCanMountNfs() ? "this" : "user-mode-linux");
  if (process.getuid?.() !== 0) {
    throw new Error("mounting and chroot need root: run this as root (for example with sudo)");
  }
  const pools = options.pools ?? defaultPools(8);
  const workFolder = join(folder, "worker");
  await mkdir(workFolder, { recursive: true });
  // Paths of sockets must be short, which a folder that the user names may not be.
  const runFolder = await mkdtemp(join(tmpdir(), "bb-cluster-"));
  const serverSocket = join(runFolder, "server");
  const diagnosticsSocket = join(runFolder, "diagnostics");
  await using started = new AsyncDisposableStack();
  started.defer(() => rm(runFolder, { recursive: true, force: true }));
  const server = await ClusterServer.start({
    folder: join(folder, "storage"),
    listen: options.listen ?? "localhost:8980",
    listenForWorkers: `unix:${serverSocket}`,
    maximumBytes: options.maximumStorageBytes ?? DEFAULT_STORAGE_BYTES,
    scheduler: options.scheduler ?? {},
    onRead: options.onRead,
  });
  started.defer(() => server.close());
  const lifeline = await Lifeline.listen(join(runFolder, "lifeline"));

  const places: WorkerPlaces = {
    serverAddress: kernel === "this" ? `unix:${serverSocket}` : `${HOST_ADDRESS}:1`,
    mountPath: join(runFolder, "build"),
    filePoolPath: join(workFolder, "file-pool"),
    runnerSocket: (pool) => join(runFolder, `runner-${pool.name}`),
    diagnostics: options.diagnostics && (kernel === "this" ? options.diagnostics : `${GUEST_ADDRESS}:1`),
  };
  await mkdir(places.filePoolPath, { recursive: true });
  const settings = await writeConfigurations(runFolder, pools, places, kernel, lifeline.path);
  const logPath = join(workFolder, "worker.log");
  const workerHost = new WorkerHostProcess({
    kernel,
    settings,
    workFolder,
    sockets: [serverSocket, lifeline.path],
    servedSockets: [diagnosticsSocket],
    logPath,
  });
  if (options.diagnostics !== undefined && kernel !== "this") {
    const [, host, port] = /^(.*):(\d+)$/.exec(options.diagnostics) ?? [];
    const diagnostics = await relay({ host, port: Number(port) }, { path: diagnosticsSocket });
    started.defer(() => void diagnostics.close());
  }
  started.defer(async () => {
    lifeline.cut();
    await workerHost.end(STOP_MILLISECONDS);
  });
  const threads = pools.reduce((sum, pool) => sum + pool.concurrency, 0);
  const timeout = AbortSignal.timeout(START_MILLISECONDS);
  const gone = new AbortController();
  workerHost.ended.then((how) =>
    gone.abort(
      new Error(`worker and runner did not start (${how}). ${logPath} ends:\n${workerHost.lastLines()}`),
    ),
  );
  try {
    await server.queue.untilWorkers(threads, AbortSignal.any([timeout, gone.signal]));
  } catch (error) {
    if (!timeout.aborted) {
      throw error;
    }
    const { workers } = server.queue.statistics();
    throw new Error(
      `${workers} of ${threads} worker threads are ready after ${START_MILLISECONDS / 1000} s. ` +
        `${logPath} ends:\n${workerHost.lastLines()}`,
      { cause: error },
    );
  }
  lifeline.sayReady();
  return new Cluster(server, workerHost, logPath, started.move());
}

/** A cluster that runs. */
export class Cluster implements AsyncDisposable {
  /** REAPI for clients: "HOST:PORT". */
  readonly address: string;
  readonly storage: EmbeddedStorage;
  readonly queue: BuildQueue;
  /** What worker and runners said. */
  readonly logPath: string;
  /** Resolves when worker and runners are gone, by themselves or by `close()`, with how they ended. */
  readonly ended: Promise<string>;
  readonly #parts: AsyncDisposableStack;

  constructor(
    server: ClusterServer,
    workerHost: WorkerHostProcess,
    logPath: string,
    parts: AsyncDisposableStack,
  ) {
    this.address = server.address;
    this.storage = server.storage;
    this.queue = server.queue;
    this.logPath = logPath;
    this.ended = workerHost.ended;
    this.#parts = parts;
  }

  /** Lets the worker finish or hand back its actions and unmount, then stops everything else. */
  async close(): Promise<void> {
    await this.#parts.disposeAsync();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function writeConfigurations(
  runFolder: string,
  pools: readonly RunnerPool[],
  places: WorkerPlaces,
  kernel: Kernel,
  lifelinePath: string,
): Promise<string> {
  const write = async (name: string, text: string) => {
    const path = join(runFolder, name);
    await writeFile(path, text);
    return path;
  };
  const settings: WorkerHostSettings = {
    worker: await write("worker.json", workerConfiguration(pools, places)),
    runners: await Promise.all(
      pools.map((pool) => write(`runner-${pool.name}.json`, runnerConfiguration(pool, places))),
    ),
    ...(kernel === "this"
      ? { lifeline: { path: lifelinePath } }
      : { lifeline: { host: HOST_ADDRESS, port: 2 }, network: GUEST_NETWORK }),
  };
  return write("worker-host.json", JSON.stringify(settings));
}
