import { type Channel, status as Status } from "@grpc/grpc-js";
import { endpointMetadata, openChannel } from "../grpc/endpoint.ts";
import { type Client, createClient } from "../grpc/grpc.ts";
import {
  ActionCache,
  type ActionResult,
} from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { BlobError } from "../reapi/blob-error.ts";
import { isComplete, type ResultStorage } from "../reapi/completeness.ts";
import type { Digest } from "../reapi/digest.ts";
import { digestMessage, functionValue } from "../reapi/wire-digest.ts";
import type { BlobBackend, BlobServer } from "./backend.ts";
import { type Attempt, type Clock, type RetryPolicy, retry } from "./transfer/retry.ts";

/** Action results by action digest. */
export class ActionCacheClient {
  readonly #backend: BlobBackend;
  readonly #policy: RetryPolicy;
  readonly #clock: Clock;
  readonly #storage: ResultStorage;
  readonly #connections: (Connection | undefined)[] = [];

  /** `storage` is asked where the configuration wants completeness checked. */
  constructor(backend: BlobBackend, policy: RetryPolicy, clock: Clock, storage: ResultStorage) {
    this.#backend = backend;
    this.#policy = policy;
    this.#clock = clock;
    this.#storage = storage;
  }

  /** undefined if there is none, or, where that is to be checked, none that is complete. Rejects with {@link BlobError}; with the signal's reason once that aborts. */
  async get(actionDigest: Digest, signal?: AbortSignal): Promise<ActionResult | undefined> {
    const result = await this.#get(actionDigest, signal);
    const { server } = this.#backend.route(actionDigest);
    const checking = this.#backend.servers[server]!.completenessChecking;
    if (result === undefined || checking === undefined) {
      return result;
    }
    const { maximumTotalTreeSizeBytes } = checking;
    const complete = await isComplete(result, actionDigest, maximumTotalTreeSizeBytes, this.#storage);
    return complete ? result : undefined;
  }

  async update(actionDigest: Digest, actionResult: ActionResult, signal?: AbortSignal): Promise<void> {
    await this.#call("UpdateActionResult", actionDigest, signal, ({ client }, instanceName, options) =>
      client.updateActionResult(
        {
          instanceName,
          actionDigest: digestMessage(actionDigest),
          actionResult,
          digestFunction: functionValue(actionDigest.function),
        },
        options,
      ),
    );
  }

  close(): void {
    for (const connection of this.#connections) {
      connection?.channel.close();
    }
  }

  async #get(actionDigest: Digest, signal: AbortSignal | undefined): Promise<ActionResult | undefined> {
    try {
      return await this.#call("GetActionResult", actionDigest, signal, ({ client }, instanceName, options) =>
        client.getActionResult(
          {
            instanceName,
            actionDigest: digestMessage(actionDigest),
            digestFunction: functionValue(actionDigest.function),
          },
          options,
        ),
      );
    } catch (error) {
      if (error instanceof BlobError && error.code === Status.NOT_FOUND) {
        return undefined;
      }
      throw error;
    }
  }

  async #call<T>(
    what: string,
    actionDigest: Digest,
    signal: AbortSignal | undefined,
    call: (
      connection: Connection,
      instanceName: string,
      options: { readonly signal: AbortSignal; readonly metadata: ReturnType<typeof endpointMetadata> },
    ) => Promise<T>,
  ): Promise<T> {
    const { server, instanceName } = this.#backend.route(actionDigest);
    const connection = this.#connection(server);
    const { endpoint, timeoutMilliseconds } = connection.server;
    return retry(
      `${what} for ${actionDigest.hash}-${actionDigest.sizeBytes} at ${endpoint.address}`,
      this.#policy,
      timeoutMilliseconds ?? this.#policy.attemptTimeoutMilliseconds,
      this.#clock,
      signal,
      (attempt: Attempt) =>
        call(connection, instanceName, { signal: attempt.signal, metadata: endpointMetadata(endpoint) }),
    );
  }

  #connection(index: number): Connection {
    let connection = this.#connections[index];
    if (connection === undefined) {
      const server = this.#backend.servers[index]!;
      const channel = openChannel(server.endpoint);
      connection = { server, channel, client: createClient(ActionCache, channel) };
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
