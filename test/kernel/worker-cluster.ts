import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { programCommand } from "../../src/cluster/programs.ts";
import { ClusterServer, type ClusterServerOptions } from "../../src/cluster/server.ts";
import {
  entriesBelow,
  type ImportedInputRoot,
  type InputRootEntry,
} from "../../src/cluster/storage/import-input-root.ts";
import { createClient } from "../../src/grpc/client.ts";
import { openChannel } from "../../src/grpc/endpoint.ts";
import { shareMounts } from "../../src/mount/index.ts";
import {
  ActionSchema as ActionMessage,
  type ActionSchema,
  CommandSchema,
  type ExecuteResponse,
  ExecuteResponseSchema,
  Execution,
} from "../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Digest } from "../../src/reapi/digest.ts";
import { digestMessage } from "../../src/reapi/wire-digest.ts";
import { copyPrograms } from "../unit/runner/root-file-system.ts";
import { Program } from "./program.ts";
import { unmountVolume } from "./volume.ts";

export interface WorkerClusterOptions {
  readonly concurrency?: number;
  /** Added to the runner's part of the worker's configuration. */
  readonly runnerSettings?: object;
  /** Added to the worker's `virtual` build directory. */
  readonly virtual?: object;
  /** Added to the runner's own configuration. */
  readonly runnerConfiguration?: object;
  /** The runner's mount namespace: the worker's own, or another that sees the volume's mounts, or does not. */
  readonly runnerNamespace?: "same" | "slave" | "private";
  readonly server?: Partial<ClusterServerOptions>;
  readonly environment?: Readonly<Record<string, string>>;
  /** Who may make files in the volume that they share; default 0755. */
  readonly volumeMode?: number;
  /** Has worker and runner started by these, which fork, instead of in `runnerNamespace`. */
  readonly containers?: { readonly worker: readonly string[]; readonly runner: readonly string[] };
  /** The folder of the programs; default: see {@link programCommand}. */
  readonly programs?: string;
}

export interface RunAction {
  readonly script?: string;
  readonly command?: MessageInitShape<typeof CommandSchema>;
  readonly action?: MessageInitShape<typeof ActionSchema>;
  readonly inputRoot?: Digest | undefined;
  readonly instanceName?: string;
  readonly signal?: AbortSignal;
}

/** Scheduler and storage in this process; worker and runner as processes; a volume that they share. */
export class WorkerCluster {
  readonly server: ClusterServer;
  readonly mountPath: string;
  /** Of the runner. */
  readonly socket: string;
  /** A small root file system with a shell and some programs. */
  readonly rootDigest: Digest;
  readonly concurrency: number;
  runner!: Program;
  worker!: Program;
  readonly #volume: string;
  /** The command that has the runner started in its namespace. */
  readonly #namespace: readonly string[];
  readonly #environment: Readonly<Record<string, string>>;
  readonly #programs: string | undefined;
  readonly #containers: WorkerClusterOptions["containers"];

  private constructor(
    server: ClusterServer,
    volume: string,
    rootDigest: Digest,
    concurrency: number,
    namespace: readonly string[],
    { environment = {}, programs, containers }: WorkerClusterOptions,
  ) {
    this.concurrency = concurrency;
    this.server = server;
    this.#volume = volume;
    this.mountPath = join(volume, "build");
    this.socket = join(volume, "runner");
    this.rootDigest = rootDigest;
    this.#namespace = namespace;
    this.#environment = environment;
    this.#programs = programs;
    this.#containers = containers;
  }

  /** What it starts is ended after `test`. */
  static async start(
    test: Pick<TestContext, "after">,
    options: WorkerClusterOptions = {},
  ): Promise<WorkerCluster> {
    const { concurrency = 2, runnerNamespace = "same", runnerSettings = {} } = options;
    const volume = mkdtempSync(join(tmpdir(), "volume-"));
    // Commands may be another user's.
    chmodSync(volume, options.volumeMode ?? 0o755);
    await shareMounts(volume);
    const server = await ClusterServer.start({
      folder: join(volume, "storage"),
      listen: "localhost:0",
      listenForWorkers: `unix:${volume}/server`,
      ...options.server,
    });
    writeFileSync(
      join(volume, "bb_runner.json"),
      JSON.stringify({
        buildDirectoryPath: join(volume, "build"),
        grpcServers: [{ listenPaths: [join(volume, "runner")], authenticationPolicy: { allow: {} } }],
        chrootIntoInputRoot: true,
        ...options.runnerConfiguration,
      }),
    );
    const grpc = {
      deadlineEnforcing: {
        timeout: "2s",
        backend: { grpc: { client: { address: `unix:${volume}/server` } } },
      },
    };
    writeFileSync(
      join(volume, "bb_worker.json"),
      JSON.stringify({
        scheduler: { address: `unix:${volume}/server` },
        blobstore: { contentAddressableStorage: grpc, actionCache: grpc },
        filePool: { blockDevice: { file: { path: join(volume, "pool"), sizeBytes: 1e9 } } },
        buildDirectories: [
          {
            virtual: {
              mount: { mountPath: join(volume, "build"), nfsv4: { linux: {} } },
              ...options.virtual,
            },
            runners: [
              {
                endpoint: { address: `unix:${volume}/runner` },
                concurrency,
                inputRootCharacterDeviceNodes: ["full", "null", "random", "tty", "urandom", "zero"],
                maximumFilePoolFileCount: 1e6,
                maximumFilePoolSizeBytes: 1e9,
                ...runnerSettings,
              },
            ],
          },
        ],
      }),
    );
    const namespace =
      runnerNamespace === "same" ? [] : ["unshare", "--mount", "--propagation", runnerNamespace];
    makeRoot(join(volume, "root"));
    const { digest: rootDigest } = await server.storage.importDirectory(join(volume, "root"));
    const cluster = new WorkerCluster(server, volume, rootDigest, concurrency, namespace, options);
    await cluster.startRunner();
    cluster.startWorker();
    test.after(() => cluster.end());
    return cluster;
  }

  async startRunner(): Promise<void> {
    this.runner = new Program(
      [
        ...(this.#containers?.runner ?? this.#namespace),
        ...programCommand("runner", this.#programs),
        join(this.#volume, "bb_runner.json"),
      ],
      { forks: this.#containers !== undefined },
    );
    await this.runner.line(/runner ready/);
  }

  startWorker(): void {
    this.worker = new Program(
      [
        ...(this.#containers?.worker ?? []),
        ...programCommand("worker", this.#programs),
        join(this.#volume, "bb_worker.json"),
      ],
      { environment: this.#environment, forks: this.#containers !== undefined },
    );
  }

  /** Resolves when the scheduler knows all of the worker's threads. */
  ready(): Promise<void> {
    return this.server.queue.untilWorkers(this.concurrency, AbortSignal.timeout(120_000));
  }

  /** The process that has mounted the build directory. */
  get mountHelper(): number {
    const { pid } = this.worker.process;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim().split(" ");
    const helper = children.find((child) => readFileSync(`/proc/${child}/comm`, "latin1") === "bb_mount\n");
    assert.ok(helper, "the worker has no mount helper");
    return Number(helper);
  }

  /** The small root file system with another file in it. */
  async rootWith(
    path: string,
    content: Uint8Array,
    isExecutable = false,
  ): Promise<{ inputRoot: Digest; file: Digest }> {
    const { digest, fileDigests } = await this.rootWithEntries([
      { path, type: "file", isExecutable, content },
    ]);
    return { inputRoot: digest, file: fileDigests.get(path)! };
  }

  /** The small root file system with more in it. */
  rootWithEntries(entries: readonly InputRootEntry[]): Promise<ImportedInputRoot> {
    const base = entriesBelow(join(this.#volume, "root"));
    return this.server.storage.importInputRoot(
      (async function* () {
        yield* base;
        yield* entries;
      })(),
    );
  }

  /** Runs a shell script, or another command, chrooted in the small root file system. */
  async run({
    script,
    command,
    action,
    inputRoot,
    instanceName = "",
    signal,
  }: RunAction): Promise<ExecuteResponse> {
    const { storage } = this.server;
    const commandDigest = await storage.putBlob(
      toBinary(
        CommandSchema,
        create(CommandSchema, {
          arguments: ["sh", "-c", script ?? "true"],
          environmentVariables: [{ name: "PATH", value: "/bin:/usr/bin" }],
          ...command,
        }),
      ),
    );
    const actionDigest = await storage.putBlob(
      toBinary(
        ActionMessage,
        create(ActionMessage, {
          commandDigest: digestMessage(commandDigest),
          inputRootDigest: digestMessage(inputRoot ?? this.rootDigest),
          doNotCache: true,
          ...action,
        }),
      ),
    );
    const channel = openChannel({ address: this.server.address });
    try {
      const operations = createClient(Execution, channel).execute(
        { instanceName, actionDigest: digestMessage(actionDigest), skipCacheLookup: true },
        { signal },
      );
      for await (const operation of operations) {
        if (operation.done) {
          assert.equal(operation.result.case, "response");
          return anyUnpack(operation.result.value as never, ExecuteResponseSchema)!;
        }
      }
      throw new Error("the stream of operations ended early");
    } finally {
      channel.close();
    }
  }

  /** The text of a blob, such as what a command wrote to its standard output. */
  async text(digest: { hash: string; sizeBytes: bigint } | undefined): Promise<string> {
    if (digest === undefined) {
      return "";
    }
    const { function: digestFunction, instanceName } = this.rootDigest;
    const bytes = await this.server.storage.blobs.read({
      instanceName,
      function: digestFunction,
      hash: digest.hash,
      sizeBytes: Number(digest.sizeBytes),
    });
    return Buffer.from(bytes!).toString();
  }

  async end(): Promise<void> {
    await this.worker.end("SIGTERM");
    await this.runner.end("SIGKILL");
    await this.server.close();
    await unmountVolume(this.#volume, "-R");
    rmSync(this.#volume, { recursive: true });
  }
}

const rootPrograms = ["sh", "cat", "ls", "sleep", "stat", "head", "dd", "mkdir", "ln", "chmod", "wc", "cp"];

function makeRoot(root: string): void {
  mkdirSync(join(root, "etc"), { recursive: true });
  writeFileSync(join(root, "etc/motd"), "hello from the CAS\n");
  copyPrograms(
    root,
    rootPrograms.map((program) => `/bin/${program}`),
  );
}
