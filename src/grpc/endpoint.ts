import type { ChannelOptions } from "@grpc/grpc-js";
import { Channel, ChannelCredentials } from "@grpc/grpc-js";
import type { TlsClient } from "../http/tls.ts";
import { CallHeaders, type CallHeadersOptions } from "./call-headers.ts";
import type { TracedMethods } from "./calls/tracing.ts";
import { TlsChannelCredentials } from "./tls-credentials.ts";

/**
 * A gRPC server, and how to call it: what Buildbarn's grpc.ClientConfiguration says, as plain data that can be
 * handed to a worker thread.
 */
export interface GrpcEndpoint extends CallHeadersOptions {
  /** "HOST:PORT", or a gRPC URI such as "unix:///path". */
  readonly address: string;
  /** Absent means plain text. */
  readonly tls?: TlsClient;
  readonly keepalive?: GrpcKeepalive;
  /** HTTP/2 flow control per stream, in bytes. */
  readonly initialWindowSizeBytes?: number;
  /** gRPC's service config, as JSON; replaces the default, in which no call is retried. */
  readonly serviceConfig?: string;
  /** Where an HTTP proxy listens that connections go through, by CONNECT. */
  readonly proxy?: { readonly address: string; readonly credentials?: string };
  /** What spans of calls show of their messages, by method. */
  readonly tracing?: TracedMethods;
}

export interface GrpcKeepalive {
  readonly timeMilliseconds: number;
  readonly timeoutMilliseconds: number;
  readonly permitWithoutStream: boolean;
}

/** A channel, and the headers that calls through it have. */
export class EndpointChannel extends Channel {
  readonly headers: CallHeaders;

  /** Throws an Error for files of the settings that cannot be read. */
  constructor(endpoint: GrpcEndpoint) {
    const { address, proxy, tls } = endpoint;
    const credentials = tls ? new TlsChannelCredentials(tls) : ChannelCredentials.createInsecure();
    super(proxy?.address ?? address, credentials, channelOptions(endpoint));
    this.headers = new CallHeaders(endpoint);
  }

  override close(): void {
    this.headers[Symbol.dispose]();
    super.close();
  }
}

/**
 * A channel to the endpoint, which connects when it is first used. Whoever opens it closes it. Messages may have
 * any size. The channel does not retry calls: that is left to the caller, who knows what can be repeated.
 */
export function openChannel(endpoint: GrpcEndpoint): EndpointChannel {
  return new EndpointChannel(endpoint);
}

function channelOptions(endpoint: GrpcEndpoint): ChannelOptions {
  const { tls, keepalive, initialWindowSizeBytes, serviceConfig, proxy, address } = endpoint;
  return {
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
    "grpc.enable_retries": serviceConfig === undefined ? 0 : 1,
    ...(serviceConfig !== undefined && { "grpc.service_config": serviceConfig }),
    ...(proxy && {
      "grpc.http_connect_target": address,
      "grpc.default_authority": address,
      "grpc.enable_http_proxy": 0,
      ...(proxy.credentials !== undefined && { "grpc.http_connect_creds": proxy.credentials }),
    }),
    // Nobody asks for its counts, which cost some of each call.
    "grpc.enable_channelz": 0,
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
