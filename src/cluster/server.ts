import { rm } from "node:fs/promises";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { addService } from "../grpc/handlers.ts";
import { Execution } from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { OperationQueue } from "../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { Operations } from "../proto/gen/google/longrunning/operations_pb.ts";
import { NeededBlobs } from "./needed-blobs.ts";
import { BuildQueue } from "./scheduler/build-queue.ts";
import type { BuildQueueOptions } from "./scheduler/build-queue-options.ts";
import { executionService } from "./scheduler/execution.ts";
import { operationQueueService } from "./scheduler/operation-queue.ts";
import { operationsService } from "./scheduler/operations.ts";
import { EmbeddedStorage, type StorageOptions } from "./storage/embedded-storage.ts";

export interface ClusterServerOptions extends StorageOptions {
  /** Where clients connect: "HOST:PORT", port 0 for a free one, or "unix:PATH". */
  readonly listen: string;
  /** Where workers connect, for work and for storage. */
  readonly listenForWorkers: string;
  readonly scheduler?: BuildQueueOptions;
}

const SERVER_OPTIONS = {
  "grpc.max_receive_message_length": 64 * 1024 * 1024,
  "grpc.max_send_message_length": -1,
};

/**
 * Scheduler and storage in this process: REAPI for clients at one address; the same, with Buildbarn's
 * OperationQueue, for workers at another.
 */
export class ClusterServer {
  readonly storage: EmbeddedStorage;
  readonly queue: BuildQueue;
  /** "HOST:PORT" or "unix:PATH", with the port that was chosen. */
  readonly address: string;
  readonly workersAddress: string;
  readonly #servers: readonly Server[];

  private constructor(
    storage: EmbeddedStorage,
    queue: BuildQueue,
    servers: readonly Server[],
    address: string,
    workersAddress: string,
  ) {
    this.storage = storage;
    this.queue = queue;
    this.#servers = servers;
    this.address = address;
    this.workersAddress = workersAddress;
  }

  /** Rejects if an address is in use or the folder cannot be written; the error says what to do. */
  static async start(options: ClusterServerOptions): Promise<ClusterServer> {
    const storage = await EmbeddedStorage.open(options);
    const queue = new BuildQueue(options.scheduler);
    storage.blobs.needed = () =>
      new NeededBlobs(
        () => queue.actionsInFlight(),
        (digest) => storage.blobs.read(digest),
      );
    const forClients = new Server(SERVER_OPTIONS);
    const forWorkers = new Server(SERVER_OPTIONS);
    for (const server of [forClients, forWorkers]) {
      storage.addServices(server);
      addService(server, Execution, executionService(queue, storage));
      addService(server, Operations, operationsService(queue));
    }
    addService(forWorkers, OperationQueue, operationQueueService(queue));
    const servers = [forClients, forWorkers];
    try {
      const address = await bind(forClients, options.listen);
      const workersAddress = await bind(forWorkers, options.listenForWorkers);
      return new ClusterServer(storage, queue, servers, address, workersAddress);
    } catch (error) {
      for (const server of servers) {
        server.forceShutdown();
      }
      await storage.close();
      throw error;
    }
  }

  /** Ends all calls. Stop the workers first. */
  async close(): Promise<void> {
    this.queue.close();
    for (const server of this.#servers) {
      server.forceShutdown();
    }
    await this.storage.close();
  }
}

/** Resolves to the address, with the actual port. */
async function bind(server: Server, listen: string): Promise<string> {
  // A socket that an earlier run left behind would count as in use.
  if (listen.startsWith("unix:")) {
    await rm(listen.slice("unix:".length), { force: true });
  }
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.bindAsync(listen, ServerCredentials.createInsecure(), (error, port) =>
    error ? reject(error) : resolve(port),
  );
  try {
    const port = await promise;
    return listen.startsWith("unix:") ? listen : listen.replace(/:\d+$/, `:${port}`);
  } catch (error) {
    const reason = (error as Error).message;
    throw new Error(
      reason.includes("EADDRINUSE")
        ? `cannot listen on ${listen}: something else listens there. Stop it, or choose another address`
        : `cannot listen on ${listen}: ${reason}`,
      { cause: error },
    );
  }
}
