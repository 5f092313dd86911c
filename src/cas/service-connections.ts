import type { GenService, GenServiceMethods } from "@bufbuild/protobuf/codegenv2";
import type { Channel } from "@grpc/grpc-js";
import { type Client, createClient } from "../grpc/client.ts";
import { openChannel } from "../grpc/endpoint.ts";
import type { Digest } from "../reapi/digest.ts";
import type { BlobBackend, BlobServer } from "./backend.ts";

interface Connection<S extends GenService<GenServiceMethods>> {
  readonly server: BlobServer;
  readonly channel: Channel;
  readonly client: Client<S>;
}

/** Clients of one service at a backend's servers, connected to as they are needed. */
export class ServiceConnections<S extends GenService<GenServiceMethods>> {
  readonly #service: S;
  readonly #backend: BlobBackend;
  readonly #connections: (Connection<S> | undefined)[] = [];

  constructor(service: S, backend: BlobBackend) {
    this.#service = service;
    this.#backend = backend;
  }

  /** Where what the digest names is kept. Throws as the backend does. */
  route(digest: Digest): Connection<S> & { readonly instanceName: string } {
    const { server: index, instanceName } = this.#backend.route(digest);
    let connection = this.#connections[index];
    if (connection === undefined) {
      const server = this.#backend.servers[index]!;
      const channel = openChannel(server.endpoint);
      const client = createClient(this.#service, channel, { metadata: server.endpoint.metadata });
      connection = { server, channel, client };
      this.#connections[index] = connection;
    }
    return { ...connection, instanceName };
  }

  close(): void {
    for (const connection of this.#connections) {
      connection?.channel.close();
    }
  }
}
