import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setImmediate } from "node:timers/promises";
import { create, fromJson, type JsonObject, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import type { Metadata } from "@grpc/grpc-js";
import { ClusterServer } from "../../../../src/cluster/server.ts";
import { bbRunnerSettings } from "../../../../src/config/bb-runner/application.ts";
import { bbWorkerSettings } from "../../../../src/config/bb-worker/application.ts";
import { createClient } from "../../../../src/grpc/client.ts";
import { openChannel } from "../../../../src/grpc/endpoint.ts";
import {
  ActionSchema,
  CommandSchema,
  DirectorySchema as DirectoryMessage,
  type DirectorySchema,
  type ExecuteResponse,
  ExecuteResponseSchema,
  Execution,
} from "../../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ApplicationConfigurationSchema as RunnerSchema } from "../../../../src/proto/gen/buildbarn/configuration/bb_runner/bb_runner_pb.ts";
import { ApplicationConfigurationSchema as WorkerSchema } from "../../../../src/proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import { type Digest, makeDigest, SHA256 } from "../../../../src/reapi/digest.ts";
import { digestMessage } from "../../../../src/reapi/wire-digest.ts";
import { startRunner } from "../../../../src/runner/server.ts";
import { createLog } from "../../../../src/telemetry/log.ts";
import type { Metrics } from "../../../../src/telemetry/metrics/metrics.ts";
import type { Tracer } from "../../../../src/telemetry/tracing/spans.ts";
import { Worker } from "../../../../src/worker/worker.ts";

export interface NativeClusterOptions {
  readonly concurrency?: number;
  /** Of the disk that build directory and cache are on; if absent, they are on that of temporary files. */
  readonly diskBytes?: number;
  /** Changes of the worker's native build directory. */
  readonly native?: JsonObject;
  /** Added to the worker's configuration. */
  readonly worker?: JsonObject;
  /** Added to the runner's part of it. */
  readonly runnerSettings?: JsonObject;
  /** Added to the runner's own configuration. */
  readonly runner?: JsonObject;
  /** Get what worker and runner count. */
  readonly workerMetrics?: Metrics;
  readonly runnerMetrics?: Metrics;
  readonly workerTracer?: Tracer;
  readonly runnerTracer?: Tracer;
}

export interface NativeAction {
  readonly script: string;
  readonly inputRoot?: Digest;
  readonly command?: MessageInitShape<typeof CommandSchema>;
  readonly action?: MessageInitShape<typeof ActionSchema>;
  readonly signal?: AbortSignal;
  /** Headers of the client. */
  readonly metadata?: Metadata;
}

/** Scheduler, storage, a runner, and a worker with a native build directory, all in this process. */
export class NativeCluster {
  readonly server: ClusterServer;
  readonly worker: Worker;
  readonly buildPath: string;
  readonly cachePath: string;

  private constructor(server: ClusterServer, worker: Worker, buildPath: string, cachePath: string) {
    this.server = server;
    this.worker = worker;
    this.buildPath = buildPath;
    this.cachePath = cachePath;
  }

  static async start(test: Pick<TestContext, "after">, options: NativeClusterOptions = {}) {
    const { concurrency = 1 } = options;
    const folder = realpathSync(mkdtempSync(join(tmpdir(), "native-")));
    await using resources = new AsyncDisposableStack();
    resources.defer(() => rmSync(folder, { recursive: true, force: true }));
    const disk = join(folder, "disk");
    mkdirSync(disk);
    if (options.diskBytes !== undefined) {
      execFileSync("mount", ["-t", "tmpfs", "-o", `size=${options.diskBytes}`, "tmpfs", disk]);
      resources.defer(() => void execFileSync("umount", [disk]));
    }
    const buildPath = join(disk, "build");
    const cachePath = join(disk, "cache");
    mkdirSync(buildPath);
    mkdirSync(cachePath);
    writeFileSync(join(cachePath, "left by an earlier worker"), "");
    const server = await ClusterServer.start({
      folder: join(folder, "storage"),
      listen: "localhost:0",
      listenForWorkers: `unix:${folder}/server`,
    });
    resources.defer(() => server.close());
    const log = createLog("error");
    const runner = await startRunner(
      bbRunnerSettings(
        fromJson(RunnerSchema, {
          buildDirectoryPath: buildPath,
          grpcServers: [{ listenPaths: [join(folder, "runner")], authenticationPolicy: { allow: {} } }],
          ...options.runner,
        }),
      ),
      log,
      { metrics: options.runnerMetrics, tracer: options.runnerTracer },
    );
    resources.defer(() => runner.close());
    const grpc = { grpc: { client: { address: `unix:${folder}/server` } } };
    const settings = bbWorkerSettings(
      fromJson(WorkerSchema, {
        scheduler: { address: `unix:${folder}/server` },
        blobstore: { contentAddressableStorage: grpc, actionCache: grpc },
        buildDirectories: [
          {
            native: {
              buildDirectoryPath: buildPath,
              cacheDirectoryPath: cachePath,
              maximumCacheFileCount: "1000",
              maximumCacheSizeBytes: "100000000",
              cacheReplacementPolicy: "LEAST_RECENTLY_USED",
              ...options.native,
            },
            runners: [
              {
                endpoint: { address: `unix:${folder}/runner` },
                concurrency: String(concurrency),
                ...options.runnerSettings,
              },
            ],
          },
        ],
        ...options.worker,
      }),
    );
    const worker = await Worker.start(
      settings,
      () => assert.fail("nothing is to be mounted"),
      log,
      undefined,
      { metrics: options.workerMetrics, tracer: options.workerTracer },
    );
    resources.defer(() => worker.stop(0));
    await server.queue.untilWorkers(concurrency, AbortSignal.timeout(60_000));
    const cluster = new NativeCluster(server, worker, buildPath, cachePath);
    const all = resources.move();
    test.after(() => all.disposeAsync());
    return cluster;
  }

  async putDirectory(directory: MessageInitShape<typeof DirectorySchema>): Promise<Digest> {
    return this.server.storage.putBlob(toBinary(DirectoryMessage, create(DirectoryMessage, directory)));
  }

  async putFile(content: string | Uint8Array): Promise<ReturnType<typeof digestMessage>> {
    return digestMessage(await this.server.storage.putBlob(Buffer.from(content)));
  }

  /** Runs a shell script in the input root. */
  async run({
    script,
    inputRoot,
    command,
    action,
    signal,
    metadata,
  }: NativeAction): Promise<ExecuteResponse> {
    const { storage } = this.server;
    const commandDigest = await storage.putBlob(
      toBinary(
        CommandSchema,
        create(CommandSchema, {
          arguments: ["sh", "-c", script],
          environmentVariables: [{ name: "PATH", value: "/usr/bin:/bin" }],
          ...command,
        }),
      ),
    );
    const root = inputRoot ?? (await this.putDirectory({}));
    const actionDigest = await storage.putBlob(
      toBinary(
        ActionSchema,
        create(ActionSchema, {
          commandDigest: digestMessage(commandDigest),
          inputRootDigest: digestMessage(root),
          ...action,
        }),
      ),
    );
    const channel = openChannel({ address: this.server.address });
    try {
      const operations = createClient(Execution, channel).execute(
        { actionDigest: digestMessage(actionDigest), skipCacheLookup: true },
        { signal, metadata },
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

  /** Runs an action that waits, once it has begun, until `release` is called. */
  async hold(inputRoot: Digest | undefined, then: string) {
    const script = "echo held > held; until [ -e release ]; do sleep 0.01; done";
    const response = this.run({
      ...(inputRoot && { inputRoot }),
      script: `${script}; ${then}`,
      action: { doNotCache: true },
    });
    response.catch(() => {});
    let path: string | undefined;
    while (path === undefined) {
      const names = readdirSync(this.buildPath).map((name) => join(this.buildPath, name, "root"));
      path = names.find((name) => existsSync(join(name, "held")));
      await setImmediate();
    }
    return { response, release: () => writeFileSync(join(path, "release"), "") };
  }

  async read(digest: { hash: string; sizeBytes: bigint } | undefined): Promise<Buffer> {
    if (digest === undefined) {
      return Buffer.alloc(0);
    }
    const { hash, sizeBytes } = digest;
    return Buffer.from((await this.server.storage.blobs.read(makeDigest("", SHA256, hash, sizeBytes)))!);
  }

  async text(digest: { hash: string; sizeBytes: bigint } | undefined): Promise<string> {
    return (await this.read(digest)).toString();
  }
}
