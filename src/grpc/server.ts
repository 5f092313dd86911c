import { rmSync, statSync } from "node:fs";
import { Server, ServerCredentials, type ServerOptions } from "@grpc/grpc-js";

/** Where and how to serve: what Buildbarn's grpc.ServerConfiguration says, as plain data. */
export interface GrpcServerSettings {
  /** "HOST:PORT"; an empty host means every address. */
  readonly listenAddresses: readonly string[];
  /** UNIX sockets. */
  readonly listenPaths: readonly string[];
  /** Absent means gRPC's default. */
  readonly maximumReceivedMessageSizeBytes: number | undefined;
  /** HTTP/2 flow control per stream. */
  readonly initialWindowSizeBytes: number | undefined;
  /** Absent means plain text. */
  readonly tls: GrpcServerTls | undefined;
  /** Whether calls in progress may finish at shutdown; left to whoever shuts the server down. */
  readonly stopGracefully: boolean;
}

/** PEM texts. */
export interface GrpcServerTls {
  readonly certificate: string;
  readonly privateKey: string;
}

/** A server that does not listen yet: add services, then call {@link listen}. */
export function createServer({
  maximumReceivedMessageSizeBytes,
  initialWindowSizeBytes,
}: GrpcServerSettings): Server {
  const options: ServerOptions = {
    ...(maximumReceivedMessageSizeBytes !== undefined && {
      "grpc.max_receive_message_length": maximumReceivedMessageSizeBytes,
    }),
    ...(initialWindowSizeBytes !== undefined && { "grpc-node.flow_control_window": initialWindowSizeBytes }),
  };
  return new Server(options);
}

/**
 * Binds the server to all its addresses and paths. A socket that an earlier run left behind is replaced. Rejects
 * with an Error naming the address that cannot be had.
 */
export async function listen(server: Server, settings: GrpcServerSettings): Promise<void> {
  const credentials = serverCredentials(settings.tls);
  for (const address of settings.listenAddresses) {
    await bind(server, address.startsWith(":") ? `[::]${address}` : address, credentials);
  }
  for (const socket of settings.listenPaths) {
    if (statSync(socket, { throwIfNoEntry: false })?.isSocket()) {
      rmSync(socket);
    }
    await bind(server, `unix:${socket}`, credentials);
  }
}

function serverCredentials(tls: GrpcServerTls | undefined): ServerCredentials {
  if (tls === undefined) {
    return ServerCredentials.createInsecure();
  }
  return ServerCredentials.createSsl(null, [
    { cert_chain: Buffer.from(tls.certificate), private_key: Buffer.from(tls.privateKey) },
  ]);
}

function bind(server: Server, address: string, credentials: ServerCredentials): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error) => {
      if (error === null) {
        resolve();
      } else {
        reject(new Error(`cannot listen on ${address}: ${error.message}`, { cause: error }));
      }
    });
  });
}
