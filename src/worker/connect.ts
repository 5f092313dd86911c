import type { GenService, GenServiceMethods } from "@bufbuild/protobuf/codegenv2";
import { endpointMetadata, type GrpcEndpoint, openChannel } from "../proto/endpoint.ts";
import { type CallOptions, type Client, createClient } from "../proto/grpc.ts";

/**
 * A client for a service of unary methods at an endpoint, whose calls carry the endpoint's headers. Its channel
 * belongs to `resources`.
 */
export function connect<S extends GenService<GenServiceMethods>>(
  service: S,
  endpoint: GrpcEndpoint,
  resources: AsyncDisposableStack,
): Client<S> {
  const channel = resources.adopt(openChannel(endpoint), (channel) => channel.close());
  const client = createClient(service, channel);
  if (endpoint.metadata === undefined) {
    return client;
  }
  const methods = Object.entries(
    client as Record<string, (request: unknown, options?: CallOptions) => unknown>,
  );
  return Object.fromEntries(
    methods.map(([name, method]) => [
      name,
      (request: unknown, options?: CallOptions) =>
        method(request, { ...options, metadata: endpointMetadata(endpoint) }),
    ]),
  ) as Client<S>;
}
