import type { CallCounts } from "../grpc/calls/counts.ts";
import {
  ActionCache,
  type ActionResult,
} from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Digest } from "../reapi/digest.ts";
import { digestMessage } from "../reapi/wire-digest.ts";
import type { BlobBackend } from "./backend.ts";
import { type Connected, ServiceConnections } from "./service-connections.ts";
import { type Clock, type RetryPolicy, retry } from "./transfer/retry.ts";

/** Stores action results. A worker never asks for one: that is for whoever orders actions. */
export class ActionCacheClient {
  readonly #connections: ServiceConnections<typeof ActionCache>;
  readonly #policy: RetryPolicy;
  readonly #clock: Clock;

  constructor(backend: BlobBackend, policy: RetryPolicy, clock: Clock, callCounts?: CallCounts) {
    this.#connections = new ServiceConnections(ActionCache, backend, callCounts);
    this.#policy = policy;
    this.#clock = clock;
  }

  /** Rejects with BlobError; with the signal's reason once that aborts. */
  async update(actionDigest: Digest, actionResult: ActionResult, signal?: AbortSignal): Promise<void> {
    await Promise.all(
      this.#connections
        .routes(actionDigest)
        .map((connected) => this.#updateAt(connected, actionDigest, actionResult, signal)),
    );
  }

  async #updateAt(
    { server, client, instanceName }: Connected<typeof ActionCache>,
    actionDigest: Digest,
    actionResult: ActionResult,
    signal: AbortSignal | undefined,
  ): Promise<void> {
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
    this.#connections.close();
  }
}
