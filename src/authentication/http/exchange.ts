import type { IncomingMessage, ServerResponse } from "node:http";
import { TLSSocket } from "node:tls";
import { failure } from "../../grpc/status.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { headerText, type Peer } from "../peer.ts";

/** A request that has not been answered. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Who makes it. */
  readonly peer: Peer;
}

/** Of a request as it comes in. */
export function exchangeOf(request: IncomingMessage, response: ServerResponse): Exchange {
  const controller = new AbortController();
  response.once("close", () => controller.abort(failure(Code.CANCELLED, "the client cancelled the call")));
  const peer: Peer = {
    header: (name) => (request.headersDistinct[name] ?? []).map((value) => headerText(name, value)),
    tls: request.socket instanceof TLSSocket ? request.socket : undefined,
    unixSocket: undefined,
    signal: controller.signal,
  };
  return { request, response, peer };
}
