import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import { kernelCanMountNfs } from "../user-mode-linux/host-kernel.ts";
import { GUEST_NETWORK, HOST_ADDRESS } from "../user-mode-linux/network.ts";
import {
  type RunnerPool,
  runnerConfiguration,
  type WorkerPlaces,
  workerConfiguration,
} from "./configurations.ts";
import type { BuildQueue } from "./scheduler/build-queue.ts";
import type { BuildQueueOptions } from "./scheduler/build-queue-options.ts";
import { ClusterServer } from "./server.ts";
import type { EmbeddedStorage } from "./storage/embedded-storage.ts";
import type { ReadInterceptor } from "./storage/served-blobs.ts";
import { READY, STOP, type WorkerHostSettings } from "./worker-host.ts";

export interface ClusterOptions {
  /** Where everything that stays lives: blobs, action results, the worker's log. One cluster at a time uses it. */
  readonly folder: string;
  /** Where clients connect, "HOST:PORT"; port 0 for a free one. Default "localhost:8980". */
  readonly listen?: string;
  /** Default: {@link defaultPools} with 8 actions at the same time. */
  readonly pools?: readonly RunnerPool[];
  /** Where worker and runners run. Default: on this kernel if it can mount NFS, otherwise in user-mode Linux. */
  readonly kernel?: "this" | "user-mode-linux";
  readonly scheduler?: BuildQueueOptions;
  /** See {@link ReadInterceptor}. */
  readonly onRead?: ReadInterceptor;
}

/** How long worker and runner may take until the scheduler has heard of every worker thread. */
const START_MILLISECONDS = 120_000;
/** Longer than the worker host gives worker and runners. */
const STOP_MILLISECONDS = 60_000;

/** The platform property by which an action asks to be run in its input root as its whole file system. */
export const CHROOT_PROPERTY = { name: "chroot-into-input-root", value: "true" };

/**
 * Two pools, each for so many actions at the same time: one for actions without platform properties, which see this
 * machine's file system beside their inputs, as Bazel's do; and one for those with {@link CHROOT_PROPERTY}.
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
 * Rejects with an error that says what to do where that is not possible; then nothing is left behind.
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
  // Sockets' paths must be short, which those below a folder that a user names may not be.
  const runFolder = await mkdtemp(join(tmpdir(), "bb-cluster-"));
  const serverSocket = join(runFolder, "server");
  await using started = new AsyncDisposableStack();
  started.defer(() => rm(runFolder, { recursive: true, force: true }));
  const server = await ClusterServer.start({
    folder: join(folder, "storage"),
    listen: options.listen ?? "localhost:8980",
    listenForWorkers: `unix:${serverSocket}`,
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
  };
  await mkdir(places.filePoolPath, { recursive: true });
  const settings = await writeConfigurations(runFolder, pools, places, kernel, lifeline.path);
  const logPath = join(workFolder, "worker.log");
  const workerHost = new WorkerHost(kernel, settings, workFolder, [serverSocket, lifeline.path], logPath);
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
  /** Resolves, saying how, when worker and runners are gone, be it by themselves or by `close()`. */
  readonly ended: Promise<string>;
  readonly #parts: AsyncDisposableStack;

  constructor(server: ClusterServer, workerHost: WorkerHost, logPath: string, parts: AsyncDisposableStack) {
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
  kernel: "this" | "user-mode-linux",
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

/** A connection for as long as the cluster lives: when it ends, however that comes, worker and runners stop. */
class Lifeline {
  readonly path: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {}).on("close", () => this.#sockets.delete(socket));
    });
  }

  static async listen(path: string): Promise<Lifeline> {
    const server = createServer();
    server.listen(path);
    await once(server, "listening");
    return new Lifeline(path, server);
  }

  /** Worker and runners are to be kept running. */
  sayReady(): void {
    for (const socket of this.#sockets) {
      socket.write(READY);
    }
  }

  /** Worker and runners are to stop in order. */
  cut(): void {
    this.#server.close();
    for (const socket of this.#sockets) {
      socket.end(STOP);
    }
  }
}

/** The process in which, or in whose user-mode Linux, worker and runners run. */
class WorkerHost {
  /** Resolves when it is gone, with how. */
  readonly ended: Promise<string>;
  readonly #child: ChildProcess;
  readonly #logPath: string;

  /** `settings` is the path of its settings, `sockets` what it has to reach, `workFolder` where it may write. */
  constructor(
    kernel: "this" | "user-mode-linux",
    settings: string,
    workFolder: string,
    sockets: readonly string[],
    logPath: string,
  ) {
    const program = (name: string) => join(import.meta.dirname, `${name}${extname(import.meta.filename)}`);
    const workerHost = [process.execPath, program("worker-host"), settings];
    const command =
      kernel === "this"
        ? ["unshare", "--mount", "--propagation=private", ...workerHost]
        : [
            "unshare",
            "--net",
            process.execPath,
            join(import.meta.dirname, "../user-mode-linux", `isolated${extname(import.meta.filename)}`),
            workFolder,
            sockets.join(":"),
            ...workerHost,
          ];
    // A file, not a pipe: worker and runners stop in order also when this process is gone.
    const log = openSync(logPath, "w");
    // Not in this process's group: Ctrl-C is for this process, which then stops worker and runners in order.
    const child = spawn(command[0]!, command.slice(1), {
      stdio: ["ignore", log, log],
      detached: true,
      // Most of a start's time in user-mode Linux goes into reading and compiling the programs' many files.
      env: { ...process.env, NODE_COMPILE_CACHE: join(workFolder, "compile-cache") },
    });
    closeSync(log);
    this.#logPath = logPath;
    this.#child = child;
    this.ended = new Promise((resolve) => {
      child.once("error", (error) => resolve(`cannot run ${command[0]}: ${error.message}`));
      child.once("close", (code, signal) => {
        resolve(signal ? `ended by ${signal}` : `exit status ${code}`);
      });
    });
  }

  /** Waits until it is gone, and kills it if that takes longer than `milliseconds`. */
  async end(milliseconds: number): Promise<void> {
    const timer = setTimeout(() => {
      if (this.#child.pid !== undefined) {
        process.kill(-this.#child.pid, "SIGKILL");
      }
    }, milliseconds);
    await this.ended;
    clearTimeout(timer);
  }

  lastLines(): string {
    return readFileSync(this.#logPath, "utf8").trimEnd().split("\n").slice(-30).join("\n");
  }
}
