import type { Channel } from "@grpc/grpc-js";
import { type Client, createClient } from "../grpc/client.ts";
import { openChannel } from "../grpc/endpoint.ts";
import {
  ActionCache,
  type ActionResult,
} from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Digest } from "../reapi/digest.ts";
import { digestMessage } from "../reapi/wire-digest.ts";
import { type BlobBackend, writeRoutes } from "./backend.ts";
import type { BlobRoute, BlobServer } from "./blob-server.ts";
import { type Clock, type RetryPolicy, retry } from "./transfer/retry.ts";

/** Stores action results. A worker never asks for one: that is for whoever orders actions. */
export class ActionCacheClient {
  readonly #backend: BlobBackend;
  readonly #policy: RetryPolicy;
  readonly #clock: Clock;
  readonly #connections: (Connection | undefined)[] = [];

  constructor(backend: BlobBackend, policy: RetryPolicy, clock: Clock) {
    this.#backend = backend;
    this.#policy = policy;
    this.#clock = clock;
  }

  /** Rejects with BlobError; with the signal's reason once that aborts. */
  async update(actionDigest: Digest, actionResult: ActionResult, signal?: AbortSignal): Promise<void> {
    await Promise.all(
      writeRoutes(this.#backend, actionDigest).map((route) =>
        this.#updateAt(route, actionDigest, actionResult, signal),
      ),
    );
  }

  async #updateAt(
    { server: index, instanceName }: BlobRoute,
    actionDigest: Digest,
    actionResult: ActionResult,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { server, client } = this.#connection(index);
    await retry(
      `UpdateActionResult for ${actionDigest.hash}-${actionDigest.sizeBytes} at ${server.endpoint.address}`,
      this.#policy,
      server.timeoutMilliseconds ?? this.#policy.attemptTimeoutMilliseconds,
      this.#clock,
      signal,
      (attempt) =>
        client.updateActionResult(
          {
            instanceName,
            actionDigest: digestMessage(actionDigest),
            actionResult,
            digestFunction: actionDigest.function.value,
          },
          { signal: attempt.signal },
        ),
    );
  }

  close(): void {
    for (const connection of this.#connections) {
      connection?.channel.close();
    }
  }

  #connection(index: number): Connection {
    let connection = this.#connections[index];
    if (connection === undefined) {
      const server = this.#backend.servers[index]!;
      const channel = openChannel(server.endpoint);
      const client = createClient(ActionCache, channel, { metadata: server.endpoint.metadata });
      connection = { server, channel, client };
      this.#connections[index] = connection;
    }
    return connection;
  }
}

interface Connection {
  readonly server: BlobServer;
  readonly channel: Channel;
  readonly client: Client<typeof ActionCache>;
}
