import { rmSync, statSync } from "node:fs";
import { Server, ServerCredentials, type ServerInterceptor, type ServerOptions } from "@grpc/grpc-js";
import type { TlsServer } from "../http/tls.ts";
import { Health } from "../proto/gen/grpc/health/v1/health_pb.ts";
import type { TracedMethods } from "./calls/tracing.ts";
import type { Service } from "./service-definition.ts";
import { addHealthService } from "./services/health.ts";
import { addReflectionService } from "./services/reflection.ts";
import { TlsServerCredentials } from "./tls-credentials.ts";

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
  readonly tls: TlsServer | undefined;
  readonly keepalive: GrpcServerKeepalive;
  /** PEM: whose certificates clients are asked for; absent where they are not asked. */
  readonly clientCertificateAuthorities: string | undefined;
  /** A name beside "" under which grpc.health.v1.Health reports that the server is up. */
  readonly healthCheckService: string;
  /** Whether calls in progress may finish at shutdown; left to whoever shuts the server down. */
  readonly stopGracefully: boolean;
  /** What spans of calls show of their messages, by method. */
  readonly tracing: TracedMethods;
}

/** Milliseconds; absent means gRPC's default. */
export interface GrpcServerKeepalive {
  readonly maximumConnectionIdle: number | undefined;
  readonly maximumConnectionAge: number | undefined;
  readonly maximumConnectionAgeGrace: number | undefined;
  readonly time: number | undefined;
  readonly timeout: number | undefined;
}

/** A server that does not listen yet: add services, then call {@link listen}. The first interceptor sees calls first. */
export function createServer(
  { maximumReceivedMessageSizeBytes, initialWindowSizeBytes, keepalive }: GrpcServerSettings,
  interceptors: ServerInterceptor[] = [],
): Server {
  const milliseconds = {
    "grpc.max_connection_idle_ms": keepalive.maximumConnectionIdle,
    "grpc.max_connection_age_ms": keepalive.maximumConnectionAge,
    "grpc.max_connection_age_grace_ms": keepalive.maximumConnectionAgeGrace,
    "grpc.keepalive_time_ms": keepalive.time,
    "grpc.keepalive_timeout_ms": keepalive.timeout,
  };
  const options: ServerOptions = {
    ...Object.fromEntries(Object.entries(milliseconds).filter(([, value]) => value !== undefined)),
    interceptors,
    ...(maximumReceivedMessageSizeBytes !== undefined && {
      "grpc.max_receive_message_length": maximumReceivedMessageSizeBytes,
    }),
    ...(initialWindowSizeBytes !== undefined && { "grpc-node.flow_control_window": initialWindowSizeBytes }),
  };
  return new Server(options);
}

/**
 * Lets the server say that it is up, by grpc.health.v1.Health, and what it serves, by grpc.reflection.v1. Call it when
 * all services have been added.
 */
export function addStandardServices(
  server: Server,
  { healthCheckService }: GrpcServerSettings,
  services: readonly Service[],
  relayed: readonly string[] = [],
): void {
  addHealthService(server, healthCheckService);
  addReflectionService(server, [...services, Health], relayed);
}

/**
 * Binds the server to all its addresses and paths. A socket that an earlier run left behind is replaced. Rejects
 * with an Error naming the address that cannot be had.
 */
export async function listen(server: Server, settings: GrpcServerSettings): Promise<void> {
  const credentials = settings.tls
    ? new TlsServerCredentials(settings.tls, settings.clientCertificateAuthorities)
    : ServerCredentials.createInsecure();
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
