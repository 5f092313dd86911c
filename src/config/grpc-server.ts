import { rmSync, statSync } from "node:fs";
import { Server, ServerCredentials, type ServerOptions } from "@grpc/grpc-js";
import {
  AuthenticationPolicySchema,
  type ServerConfiguration,
  ServerConfigurationSchema,
} from "../proto/gen/buildbarn/configuration/grpc/grpc_pb.ts";
import {
  type ServerConfiguration as TlsServerConfiguration,
  ServerConfigurationSchema as TlsServerConfigurationSchema,
} from "../proto/gen/buildbarn/configuration/tls/tls_pb.ts";
import { ConfigurationError } from "./error.ts";
import { keyPair } from "./grpc-client.ts";
import { requireSupportedFields } from "./supported-fields.ts";

/**
 * A server made as a ServerConfiguration says, not listening yet: add services, then call {@link listen}.
 * `path` is where the configuration stands, for messages.
 *
 * Throws {@link ConfigurationError} for a setting that is not supported.
 */
export function createServer(configuration: ServerConfiguration, path: string): Server {
  requireSupportedFields(
    ServerConfigurationSchema,
    configuration,
    path,
    [
      "listenAddresses",
      "listenPaths",
      "authenticationPolicy",
      "maximumReceivedMessageSizeBytes",
      "initialWindowSizeBytes",
      "tls",
      "stopGracefully",
    ],
    { initialConnWindowSizeBytes: "use initialWindowSizeBytes" },
  );
  if (configuration.listenAddresses.length + configuration.listenPaths.length === 0) {
    throw new ConfigurationError(
      `${path}: give listenAddresses ("HOST:PORT") or listenPaths ("/path/to/socket")`,
    );
  }
  if (configuration.authenticationPolicy?.policy.case !== "allow") {
    throw new ConfigurationError(
      `${path}.authenticationPolicy: only ${JSON.stringify({ allow: {} })} is supported. ` +
        "Restrict who can reach the server by the address or the socket's permissions",
    );
  }
  requireSupportedFields(AuthenticationPolicySchema, configuration.authenticationPolicy, path, ["allow"]);
  return new Server(serverOptions(configuration));
}

function serverOptions(configuration: ServerConfiguration): ServerOptions {
  const { maximumReceivedMessageSizeBytes, initialWindowSizeBytes } = configuration;
  return {
    ...(maximumReceivedMessageSizeBytes > 0n && {
      "grpc.max_receive_message_length": Number(maximumReceivedMessageSizeBytes),
    }),
    ...(initialWindowSizeBytes > 0 && { "grpc-node.flow_control_window": initialWindowSizeBytes }),
  };
}

/**
 * Binds the server to everything that its configuration lists. A socket that an earlier run left behind is
 * replaced. Rejects with {@link ConfigurationError} naming the address that cannot be had.
 */
export async function listen(
  server: Server,
  configuration: ServerConfiguration,
  path: string,
): Promise<void> {
  const { transportSecurity, listenAddresses, listenPaths } = configuration;
  const credentials =
    transportSecurity.case === "tls"
      ? tlsCredentials(transportSecurity.value, `${path}.tls`)
      : ServerCredentials.createInsecure();
  for (const address of listenAddresses) {
    await bind(server, address.startsWith(":") ? `[::]${address}` : address, credentials, path);
  }
  for (const socket of listenPaths) {
    if (statSync(socket, { throwIfNoEntry: false })?.isSocket()) {
      rmSync(socket);
    }
    await bind(server, `unix:${socket}`, credentials, path);
  }
}

function bind(server: Server, address: string, credentials: ServerCredentials, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error) => {
      if (error === null) {
        resolve();
      } else {
        reject(
          new ConfigurationError(`${path}: cannot listen on ${address}: ${error.message}`, { cause: error }),
        );
      }
    });
  });
}

function tlsCredentials(configuration: TlsServerConfiguration, path: string): ServerCredentials {
  requireSupportedFields(TlsServerConfigurationSchema, configuration, path, ["serverKeyPair"]);
  if (configuration.serverKeyPair === undefined) {
    throw new ConfigurationError(`${path}.serverKeyPair is missing`);
  }
  const { certificate, privateKey } = keyPair(configuration.serverKeyPair, `${path}.serverKeyPair`);
  return ServerCredentials.createSsl(null, [
    { cert_chain: Buffer.from(certificate), private_key: Buffer.from(privateKey) },
  ]);
}
