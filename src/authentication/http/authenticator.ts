import type { IncomingMessage, ServerResponse } from "node:http";
import { TLSSocket } from "node:tls";
import { failure } from "../../grpc/status.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { any, createAuthenticator } from "../authenticator.ts";
import type { AuthenticationMetadata } from "../metadata.ts";
import { headerText, type Peer } from "../peer.ts";
import { requireAccepted } from "./accept-header.ts";
import type { HttpAuthenticationSettings } from "./settings.ts";

/** A request that has not been answered. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Who makes it. */
  readonly peer: Peer;
}

/** What is known of whoever is let in. Rejects with an AuthenticationError for anybody else. */
export type HttpAuthenticator = (exchange: Exchange) => Promise<AuthenticationMetadata>;

/** What is opened for it belongs to `resources`. */
export function createHttpAuthenticator(
  settings: HttpAuthenticationSettings,
  resources: DisposableStack,
): HttpAuthenticator {
  switch (settings.kind) {
    case "any":
      return any(settings.policies.map((policy) => createHttpAuthenticator(policy, resources)));
    case "acceptHeader": {
      const authenticate = createHttpAuthenticator(settings.policy, resources);
      return async (exchange) => {
        requireAccepted(exchange.peer.header("accept"), settings.mediaTypes);
        return authenticate(exchange);
      };
    }
    default: {
      const authenticate = createAuthenticator(settings, resources);
      return ({ peer }) => authenticate(peer);
    }
  }
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
