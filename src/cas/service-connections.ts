import type { GenService, GenServiceMethods } from "@bufbuild/protobuf/codegenv2";
import type { Channel } from "@grpc/grpc-js";
import type { CallCounts } from "../grpc/calls/counts.ts";
import { type Client, createClient } from "../grpc/client.ts";
import { openChannel } from "../grpc/endpoint.ts";
import type { Digest } from "../reapi/digest.ts";
import { type BlobBackend, writeRoutes } from "./backend.ts";
import type { BlobServer } from "./blob-server.ts";

interface Connection<S extends GenService<GenServiceMethods>> {
  readonly server: BlobServer;
  readonly channel: Channel;
  readonly client: Client<S>;
}

/** A connected server, and the instance name there. */
export type Connected<S extends GenService<GenServiceMethods>> = Connection<S> & {
  readonly instanceName: string;
};

/** Clients of one service at a backend's servers, connected to as they are needed. */
export class ServiceConnections<S extends GenService<GenServiceMethods>> {
  readonly #service: S;
  readonly #backend: BlobBackend;
  readonly #callCounts: CallCounts | undefined;
  readonly #connections: (Connection<S> | undefined)[] = [];

  constructor(service: S, backend: BlobBackend, callCounts?: CallCounts) {
    this.#service = service;
    this.#callCounts = callCounts;
    this.#backend = backend;
  }

  /** All servers that keep what the digest names. Throws as the backend does. */
  routes(digest: Digest): readonly Connected<S>[] {
    return writeRoutes(this.#backend, digest).map(({ server, instanceName }) => ({
      ...this.#connection(server),
      instanceName,
    }));
  }

  close(): void {
    for (const connection of this.#connections) {
      connection?.channel.close();
    }
  }

  #connection(index: number): Connection<S> {
    let connection = this.#connections[index];
    if (connection === undefined) {
      const server = this.#backend.servers[index]!;
      const channel = openChannel(server.endpoint);
      const client = createClient(this.#service, channel, {
        tracing: server.endpoint.tracing,
        callCounts: this.#callCounts,
      });
      connection = { server, channel, client };
      this.#connections[index] = connection;
    }
    return connection;
  }
}
