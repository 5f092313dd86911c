import type { GenService, GenServiceMethods } from "@bufbuild/protobuf/codegenv2";
import { type Channel, connectivityState } from "@grpc/grpc-js";
import { endpointMetadata, type GrpcEndpoint, openChannel } from "../grpc/endpoint.ts";
import { type CallOptions, type Client, createClient } from "../grpc/grpc.ts";

export interface Connection<S extends GenService<GenServiceMethods>> {
  readonly client: Client<S>;
  readonly channel: Channel;
}

/**
 * A client for a service of unary methods at an endpoint, whose calls carry the endpoint's headers. Its channel
 * belongs to `resources`.
 */
export function connect<S extends GenService<GenServiceMethods>>(
  service: S,
  endpoint: GrpcEndpoint,
  resources: AsyncDisposableStack,
): Connection<S> {
  const channel = resources.adopt(openChannel(endpoint), (channel) => channel.close());
  const client = createClient(service, channel);
  if (endpoint.metadata === undefined) {
    return { client, channel };
  }
  const methods = Object.entries(
    client as Record<string, (request: unknown, options?: CallOptions) => unknown>,
  );
  const withHeaders = Object.fromEntries(
    methods.map(([name, method]) => [
      name,
      (request: unknown, options?: CallOptions) =>
        method(request, { ...options, metadata: endpointMetadata(endpoint) }),
    ]),
  ) as Client<S>;
  return { client: withHeaders, channel };
}

/**
 * Resolves once the channel is connected, or after so many milliseconds if it is not: the next call then says
 * why. Without it a call would fail at once while the channel only waits to connect again, as it does after the
 * server has been started anew.
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
