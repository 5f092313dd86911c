import type { GenService, GenServiceMethods } from "@bufbuild/protobuf/codegenv2";
import { type Channel, connectivityState } from "@grpc/grpc-js";
import type { CallCounts } from "../grpc/calls/counts.ts";
import { type Client, createClient } from "../grpc/client.ts";
import { type GrpcEndpoint, openChannel } from "../grpc/endpoint.ts";

export interface Connection<S extends GenService<GenServiceMethods>> {
  readonly client: Client<S>;
  readonly channel: Channel;
}

/** A client for a service at an endpoint. Its channel belongs to `resources`; `callCounts` counts its calls. */
export function connect<S extends GenService<GenServiceMethods>>(
  service: S,
  endpoint: GrpcEndpoint,
  resources: AsyncDisposableStack,
  callCounts?: CallCounts,
): Connection<S> {
  const channel = resources.adopt(openChannel(endpoint), (channel) => channel.close());
  return { client: createClient(service, channel, { tracing: endpoint.tracing, callCounts }), channel };
}

/**
 * Resolves once the channel is connected, or after that many milliseconds if it is not: the next call then says why.
 * Without it, a call would fail at once while the channel merely waits to reconnect, as after a restart of the
 * server.
 */
export async function untilConnected(channel: Channel, milliseconds: number): Promise<void> {
  const deadline = Date.now() + milliseconds;
  for (
    let state = channel.getConnectivityState(true);
    state !== connectivityState.READY && state !== connectivityState.SHUTDOWN && Date.now() < deadline;
    state = channel.getConnectivityState(true)
  ) {
    await new Promise<void>((resolve) => channel.watchConnectivityState(state, deadline, () => resolve()));
  }
}
