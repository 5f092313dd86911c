import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Channel, ChannelCredentials } from "@grpc/grpc-js";
import { ClusterServer, type ClusterServerOptions } from "../../../src/cluster/server.ts";
import { BYTE_STREAM_CODECS } from "../../../src/grpc/byte-stream-codecs.ts";
import { type CallOptions, type Client, createClient } from "../../../src/grpc/client.ts";
import {
  ActionCache,
  ActionSchema,
  Capabilities,
  CommandSchema,
  ContentAddressableStorage,
  Execution,
} from "../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  OperationQueue,
  type SynchronizeRequestSchema,
  type SynchronizeResponse,
} from "../../../src/proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { ByteStream } from "../../../src/proto/gen/google/bytestream/bytestream_pb.ts";
import { Operations } from "../../../src/proto/gen/google/longrunning/operations_pb.ts";
import type { Digest } from "../../../src/reapi/digest.ts";
import { digestMessage } from "../../../src/reapi/wire-digest.ts";

/** A cluster's server in a temporary folder, and clients over loopback. */
export interface TestCluster {
  readonly folder: string;
  readonly server: ClusterServer;
  readonly cas: Client<typeof ContentAddressableStorage>;
  readonly byteStream: Client<typeof ByteStream>;
  readonly actionCache: Client<typeof ActionCache>;
  readonly capabilities: Client<typeof Capabilities>;
  readonly execution: Client<typeof Execution>;
  readonly operations: Client<typeof Operations>;
  readonly operationQueue: Client<typeof OperationQueue>;
  /** Stops the server and starts another one on the same folder, without clients. */
  reopen(): Promise<ClusterServer>;
  [Symbol.asyncDispose](): Promise<void>;
}

export async function startTestCluster(options: Partial<ClusterServerOptions> = {}): Promise<TestCluster> {
  const folder = await mkdtemp(join(tmpdir(), "cluster-test-"));
  const start = () =>
    ClusterServer.start({
      folder: join(folder, "data"),
      listen: "localhost:0",
      listenForWorkers: `unix:${folder}/workers`,
      ...options,
    });
  let server = await start();
  const forClients = new Channel(server.address, ChannelCredentials.createInsecure(), {});
  const forWorkers = new Channel(server.workersAddress, ChannelCredentials.createInsecure(), {});
  return {
    folder,
    server,
    cas: createClient(ContentAddressableStorage, forClients),
    byteStream: createClient(ByteStream, forClients, { codecs: BYTE_STREAM_CODECS }),
    actionCache: createClient(ActionCache, forClients),
    capabilities: createClient(Capabilities, forClients),
    execution: createClient(Execution, forClients),
    operations: createClient(Operations, forClients),
    operationQueue: createClient(OperationQueue, forWorkers),
    async reopen() {
      await server.close();
      server = await start();
      return server;
    },
    async [Symbol.asyncDispose]() {
      forClients.close();
      forWorkers.close();
      await server.close();
      await rm(folder, { recursive: true });
    },
  };
}

/** Stores an action, and a command for it. Different names make different actions. */
export async function putAction(
  { server }: TestCluster,
  name: string,
  action: MessageInitShape<typeof ActionSchema> = {},
  command: MessageInitShape<typeof CommandSchema> = {},
): Promise<Digest> {
  const commandDigest = await server.storage.putBlob(
    toBinary(CommandSchema, create(CommandSchema, { arguments: [name], ...command })),
  );
  return server.storage.putBlob(
    toBinary(ActionSchema, create(ActionSchema, { commandDigest: digestMessage(commandDigest), ...action })),
  );
}

type SynchronizeInit = {
  readonly instanceNamePrefix?: string;
  readonly platform?: { readonly properties: { name: string; value: string }[] };
  readonly preferBeingIdle?: boolean;
};

type WorkerState = NonNullable<
  NonNullable<MessageInitShape<typeof SynchronizeRequestSchema>["currentState"]>["workerState"]
>;

export const idle: WorkerState = { case: "idle", value: {} };

export function running(actionDigest: Digest): WorkerState {
  return {
    case: "executing",
    value: {
      actionDigest: digestMessage(actionDigest),
      executionState: { case: "running", value: {} },
    },
  };
}

export function completed(actionDigest: Digest, exitCode = 0): WorkerState {
  return {
    case: "executing",
    value: {
      actionDigest: digestMessage(actionDigest),
      executionState: { case: "completed", value: { result: { exitCode } } },
    },
  };
}

/** A worker thread's side of the protocol, one call at a time. */
export class FakeWorker {
  readonly #cluster: TestCluster;
  readonly #identity: SynchronizeInit & { workerId: { name: string } };

  constructor(cluster: TestCluster, name: string, identity: SynchronizeInit = {}) {
    this.#cluster = cluster;
    this.#identity = { workerId: { name }, ...identity };
  }

  synchronize(
    workerState: WorkerState,
    request: SynchronizeInit = {},
    options?: CallOptions,
  ): Promise<SynchronizeResponse> {
    return this.#cluster.operationQueue.synchronize(
      { ...this.#identity, ...request, currentState: { workerState } },
      options,
    );
  }
}

/** The hash of the action that a worker was told to execute, "idle", or undefined for going on as it does. */
export function desired({ desiredState }: SynchronizeResponse): string | undefined {
  const state = desiredState?.workerState;
  return state?.case === "executing" ? state.value.actionDigest?.hash : state?.case;
}
