import type { ChannelOptions } from "@grpc/grpc-js";
import { Channel, ChannelCredentials } from "@grpc/grpc-js";

/**
 * A gRPC server, and how to call it: what Buildbarn's grpc.ClientConfiguration says, as plain data that can be
 * handed to a worker thread.
 */
export interface GrpcEndpoint {
  /** "HOST:PORT", or a gRPC URI such as "unix:///path". */
  readonly address: string;
  /** Absent means plain text. */
  readonly tls?: GrpcTls;
  /** Headers sent with every call, name and value; a name may occur more than once. */
  readonly metadata?: readonly (readonly [name: string, value: string])[];
  readonly keepalive?: GrpcKeepalive;
  /** HTTP/2 flow control per stream, in bytes. */
  readonly initialWindowSizeBytes?: number;
}

/** PEM texts. Without authorities, the system's are used. */
export interface GrpcTls {
  readonly serverCertificateAuthorities?: string;
  readonly certificate?: string;
  readonly privateKey?: string;
  /** The name that the server's certificate must have, instead of the address's host. */
  readonly serverName?: string;
}

export interface GrpcKeepalive {
  readonly timeMilliseconds: number;
  readonly timeoutMilliseconds: number;
  readonly permitWithoutStream: boolean;
}

/**
 * A channel to the endpoint, which connects when it is first used. Whoever opens it closes it. Messages may have
 * any size. The channel does not retry calls: that is left to the caller, who knows what can be repeated.
 */
export function openChannel(endpoint: GrpcEndpoint): Channel {
  return new Channel(endpoint.address, channelCredentials(endpoint.tls), channelOptions(endpoint));
}

function channelCredentials(tls: GrpcTls | undefined): ChannelCredentials {
  if (tls === undefined) {
    return ChannelCredentials.createInsecure();
  }
  const pem = (text: string | undefined) => (text === undefined ? null : Buffer.from(text));
  return ChannelCredentials.createSsl(
    pem(tls.serverCertificateAuthorities),
    pem(tls.privateKey),
    pem(tls.certificate),
  );
}

function channelOptions({ tls, keepalive, initialWindowSizeBytes }: GrpcEndpoint): ChannelOptions {
  return {
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
    "grpc.enable_retries": 0,
    // A pool of its own, so that closing the channel closes the connection.
    "grpc.use_local_subchannel_pool": 1,
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 5000,
    ...(tls?.serverName !== undefined && {
      "grpc.ssl_target_name_override": tls.serverName,
      "grpc.default_authority": tls.serverName,
    }),
    ...(keepalive && {
      "grpc.keepalive_time_ms": keepalive.timeMilliseconds,
      "grpc.keepalive_timeout_ms": keepalive.timeoutMilliseconds,
      "grpc.keepalive_permit_without_calls": keepalive.permitWithoutStream ? 1 : 0,
    }),
    ...(initialWindowSizeBytes !== undefined && { "grpc-node.flow_control_window": initialWindowSizeBytes }),
  };
}
