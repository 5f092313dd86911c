import { JmespathError } from "../jmespath/error.ts";
import { JmespathExpression } from "../jmespath/expression.ts";
import { peerCredentials } from "../native/peer-credentials.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import { ClientCertificateVerifier } from "./client-certificate.ts";
import { type AuthenticationError, unauthenticated } from "./error.ts";
import { TokenVerifier } from "./jwt.ts";
import { type AuthenticationMetadata, merged, metadataFrom } from "./metadata.ts";
import type { Peer } from "./peer.ts";
import type { AuthenticationSettings } from "./settings.ts";

/** What is known of whoever is let in. Throws an AuthenticationError for anybody else. */
export type Authenticator = (peer: Peer) => AuthenticationMetadata;

/** What is opened for it, such as files that are read again now and then, belongs to `resources`. */
export function createAuthenticator(
  settings: AuthenticationSettings,
  resources: DisposableStack,
): Authenticator {
  switch (settings.kind) {
    case "allow":
      return () => settings.metadata;
    case "deny":
      return () => {
        throw unauthenticated(settings.message);
      };
    case "any":
      return any(settings.policies.map((policy) => createAuthenticator(policy, resources)));
    case "all":
      return all(settings.policies.map((policy) => createAuthenticator(policy, resources)));
    case "clientCertificate": {
      const verifier = resources.use(new ClientCertificateVerifier(settings));
      return ({ tls }) => verifier.verify(tls);
    }
    case "jwt": {
      const verifier = resources.use(new TokenVerifier(settings));
      return (peer) => verifier.verify(peer.header("authorization"));
    }
    case "peerCredentials": {
      const expression = resources.use(new JmespathExpression(settings.metadataExtraction));
      return (peer) => ofPeerCredentials(peer, expression);
    }
  }
}

function any(authenticators: readonly Authenticator[]): Authenticator {
  return (peer) => {
    const errors: AuthenticationError[] = [];
    for (const authenticate of authenticators) {
      try {
        return authenticate(peer);
      } catch (error) {
        errors.push(error as AuthenticationError);
      }
    }
    const other = errors.find(({ code }) => code !== Code.UNAUTHENTICATED);
    const messages = new Set(errors.map(({ message }) => message));
    throw other ?? unauthenticated([...messages].join(", ") || "No authenticators configured");
  };
}

function all(authenticators: readonly Authenticator[]): Authenticator {
  return (peer) => authenticators.map((authenticate) => authenticate(peer)).reduce(merged, {});
}

function ofPeerCredentials({ unixSocket }: Peer, expression: JmespathExpression): AuthenticationMetadata {
  if (unixSocket === undefined) {
    throw unauthenticated("Connection was not established over a UNIX socket");
  }
  const { userId, groupId } = peerCredentials(unixSocket);
  try {
    // Integers of Go's, to which no number is equal.
    return metadataFrom(expression.search({ uid: BigInt(userId), groups: [BigInt(groupId)] }));
  } catch (error) {
    throw error instanceof JmespathError
      ? unauthenticated(`Cannot extract metadata from peer credentials: ${error.message}`, { cause: error })
      : error;
  }
}
