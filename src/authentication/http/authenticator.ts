import { any, createAuthenticator } from "../authenticator.ts";
import type { AuthenticationMetadata } from "../metadata.ts";
import { requireAccepted } from "./accept-header.ts";
import type { Exchange } from "./exchange.ts";
import { OidcAuthenticator } from "./oidc.ts";
import type { HttpAuthenticationSettings } from "./settings.ts";

/**
 * What is known of whoever is let in; undefined where the request has been answered, as one by someone who is to log in.
 * Rejects with an AuthenticationError for anybody else.
 */
export type HttpAuthenticator = (exchange: Exchange) => Promise<AuthenticationMetadata | undefined>;

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
    case "oidc": {
      const oidc = resources.use(new OidcAuthenticator(settings));
      return (exchange) => oidc.authenticate(exchange);
    }
    default: {
      const authenticate = createAuthenticator(settings, resources);
      return ({ peer }) => authenticate(peer);
    }
  }
}
