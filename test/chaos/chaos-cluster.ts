import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fromBinary } from "@bufbuild/protobuf";
import { EmbeddedStorage } from "../../src/cluster/storage/embedded-storage.ts";
import { shareMounts } from "../../src/mount/index.ts";
import type { Directory } from "../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { DirectorySchema } from "../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { freePort } from "../e2e/free-port.ts";
import { Program } from "../kernel/program.ts";
import { unmountVolume } from "../kernel/volume.ts";
import { copyPrograms } from "../unit/runner/root-file-system.ts";
import { type Census, takeCensus } from "./census.ts";
import { Relay } from "./relay.ts";
import { PROGRAMS } from "./work.ts";

const SOURCES = join(import.meta.dirname, "../../src");
const DEVICES = ["full", "null", "random", "tty", "urandom", "zero"];

/** How long a worker that is told to stop lets its actions run on. */
const GRACE_SECONDS = 3;

export type PartName = "storage and scheduler" | "runner" | "worker";

/** Storage with scheduler, runner and worker, each a process of its own that can be killed and started again. */
export class ChaosCluster implements AsyncDisposable {
  readonly folder: string;
  readonly concurrency: number;
  /** Between the worker and the others. */
  readonly relay: Relay;
  /** The Directory that all input roots begin with. */
  readonly root: Directory;
  /** Where the worker serves its metrics by HTTP, on 127.0.0.1. */
  readonly metricsPort: number;
  readonly #parts = new Map<PartName, Program>();
  readonly #log: (line: string) => void;

  private constructor(
    folder: string,
    concurrency: number,
    relay: Relay,
    root: Directory,
    metricsPort: number,
    log: (line: string) => void,
  ) {
    this.folder = folder;
    this.concurrency = concurrency;
    this.relay = relay;
    this.root = root;
    this.metricsPort = metricsPort;
    this.#log = log;
  }

  /** Starts everything in an empty folder. `log` receives what the programs say. */
  static async start(
    folder: string,
    concurrency: number,
    log: (line: string) => void,
  ): Promise<ChaosCluster> {
    await shareMounts(folder);
    mkdirSync(join(folder, "pool"));
    const metricsPort = await freePort();
    writeConfigurations(folder, concurrency, metricsPort);
    const root = await importRoot(folder);
    const relay = await Relay.open({ path: join(folder, "relay") }, { path: join(folder, "server") });
    const cluster = new ChaosCluster(folder, concurrency, relay, root, metricsPort, log);
    for (const name of ["storage and scheduler", "runner", "worker"] as const) {
      await cluster.startPart(name);
    }
    return cluster;
  }

  /** What clients connect to. */
  get address(): string {
    return `unix:${join(this.folder, "clients")}`;
  }

  /** What there is now on this machine, but for storage and the worker's cache. */
  census(): Census {
    return takeCensus([join(this.folder, "pool"), "/dev/shm"]);
  }

  part(name: PartName): Program {
    return this.#parts.get(name)!;
  }

  /** Resolves when the program says that it is ready. */
  async startPart(name: PartName): Promise<void> {
    const at = (file: string) => join(this.folder, file);
    const [ready, script, ...args] = {
      "storage and scheduler": [
        /^ready/,
        join(import.meta.dirname, "storage-and-scheduler.ts"),
        at("storage"),
        this.address,
        `unix:${at("server")}`,
      ] as const,
      runner: [/runner ready/, join(SOURCES, "runner/main.ts"), at("bb_runner.json")] as const,
      worker: [/ready for work/, join(SOURCES, "worker/main.ts"), at("bb_worker.json")] as const,
    }[name];
    const program = new Program([process.execPath, script, ...args], {
      environment: { BB_WORKER_GRACE_SECONDS: String(GRACE_SECONDS) },
      log: (line) => this.#log(`${name}: ${line}`),
    });
    this.#parts.set(name, program);
    await program.line(ready);
  }

  /** What the worker's metric says, all its labels together. */
  async metric(name: string): Promise<number> {
    // Without an agent the connection ends with the answer, and is in nobody's census.
    const request = get({ host: "127.0.0.1", port: this.metricsPort, path: "/metrics", agent: false });
    const [response] = (await once(request, "response")) as [IncomingMessage];
    const exposition = await text(response);
    const values = [...exposition.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)`, "gm"))];
    if (values.length === 0) {
      throw new Error(`the worker has no metric ${name}`);
    }
    return values.reduce((sum, [, value]) => sum + Number(value), 0);
  }

  /** The processes of that name that the part has started. */
  childrenOf(name: PartName, comm: string): number[] {
    const { pid } = this.part(name).process;
    return childrenAndGrandchildren(pid!).filter((child) => commOf(child) === comm);
  }

  /** Ends everything, in order, and removes the folder. Throws if the worker cannot unmount. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.part("worker").end("SIGTERM");
    await this.part("runner").end("SIGTERM");
    await this.part("storage and scheduler").end("SIGKILL");
    await this.relay.close();
    await unmountVolume(this.folder, "-R");
    rmSync(this.folder, { recursive: true });
  }
}

function writeConfigurations(folder: string, concurrency: number, metricsPort: number): void {
  const at = (file: string) => join(folder, file);
  const write = (name: string, configuration: object) =>
    writeFileSync(at(name), JSON.stringify(configuration));
  write("bb_runner.json", {
    buildDirectoryPath: at("build"),
    grpcServers: [{ listenPaths: [at("runner")], authenticationPolicy: { allow: {} } }],
    chrootIntoInputRoot: true,
  });
  const client = { address: `unix:${at("relay")}` };
  const blobs = { deadlineEnforcing: { timeout: "5s", backend: { grpc: { client } } } };
  const metrics = { listenAddresses: [`127.0.0.1:${metricsPort}`], authenticationPolicy: { allow: {} } };
  write("bb_worker.json", {
    global: { diagnosticsHttpServer: { httpServers: [metrics], enablePrometheus: true } },
    scheduler: client,
    blobstore: { contentAddressableStorage: blobs, actionCache: blobs },
    filePool: { blockDevice: { file: { path: at("pool"), sizeBytes: 1e9 } } },
    buildDirectories: [
      {
        virtual: { mount: { mountPath: at("build"), nfsv4: { linux: {} } } },
        runners: [
          {
            endpoint: { address: `unix:${at("runner")}` },
            concurrency,
            maximumFilePoolFileCount: 1e5,
            maximumFilePoolSizeBytes: 1e8,
            inputRootCharacterDeviceNodes: DEVICES,
          },
        ],
      },
    ],
  });
}

/** Puts a small root file system into storage. */
async function importRoot(folder: string): Promise<Directory> {
  const path = join(folder, "root");
  copyPrograms(
    path,
    PROGRAMS.map((program) => (program === "sha256sum" ? "/usr/bin/sha256sum" : `/bin/${program}`)),
  );
  const storage = await EmbeddedStorage.open({ folder: join(folder, "storage") });
  try {
    const { digest } = await storage.importDirectory(path);
    return fromBinary(DirectorySchema, (await storage.blobs.read(digest))!);
  } finally {
    await storage.close();
  }
}

function commOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "latin1").trim();
  } catch {
    return "";
  }
}

/** Nobody further down: that may be a command which is still to be executed, and has its helper's name. */
function childrenAndGrandchildren(pid: number): number[] {
  const parents = new Map<number, number[]>();
  for (const name of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const parent = Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${name}/status`, "latin1"))?.[1] ?? 0);
      parents.set(parent, [...(parents.get(parent) ?? []), Number(name)]);
    } catch {
      // It has just ended.
    }
  }
  const children = parents.get(pid) ?? [];
  return [...children, ...children.flatMap((child) => parents.get(child) ?? [])];
}
