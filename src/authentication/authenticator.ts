import type { CallCounts } from "../grpc/calls/counts.ts";
import { JmespathError } from "../jmespath/error.ts";
import { JmespathExpression } from "../jmespath/expression.ts";
import { peerCredentials } from "../native/peer-credentials.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import { ClientCertificateVerifier } from "./client-certificate.ts";
import { type AuthenticationError, unauthenticated } from "./error.ts";
import { TokenVerifier } from "./jwt.ts";
import { type AuthenticationMetadata, merged, metadataFrom } from "./metadata.ts";
import type { Peer } from "./peer.ts";
import { RemoteAuthenticator } from "./remote.ts";
import type { AuthenticationSettings } from "./settings.ts";

/** What is known of whoever is let in. Rejects with an AuthenticationError for anybody else. */
export type Authenticator = (peer: Peer) => Promise<AuthenticationMetadata>;

/**
 * What is opened for it, such as files that are read again now and then, belongs to `resources`. `callCounts` counts the
 * calls that it makes.
 */
export function createAuthenticator(
  settings: AuthenticationSettings,
  resources: DisposableStack,
  callCounts?: CallCounts,
): Authenticator {
  const ofEach = (policies: readonly AuthenticationSettings[]) =>
    policies.map((policy) => createAuthenticator(policy, resources, callCounts));
  switch (settings.kind) {
    case "allow":
      return async () => settings.metadata;
    case "deny":
      return async () => {
        throw unauthenticated(settings.message);
      };
    case "any":
      return any(ofEach(settings.policies));
    case "all":
      return all(ofEach(settings.policies));
    case "clientCertificate": {
      const verifier = resources.use(new ClientCertificateVerifier(settings));
      return async ({ tls }) => verifier.verify(tls);
    }
    case "jwt": {
      const verifier = resources.use(new TokenVerifier(settings));
      return async (peer) => verifier.verify(peer.header("authorization"));
    }
    case "peerCredentials": {
      const expression = resources.use(new JmespathExpression(settings.metadataExtraction));
      return async (peer) => ofPeerCredentials(peer, expression);
    }
    case "remote": {
      const remote = resources.use(new RemoteAuthenticator(settings, callCounts));
      return (peer) => remote.authenticate(peer);
    }
  }
}

/** What the first one gives that does not reject, one after the other. */
export function any<Caller, Known>(
  authenticators: readonly ((caller: Caller) => Promise<Known>)[],
): (caller: Caller) => Promise<Known> {
  return async (caller) => {
    const errors: AuthenticationError[] = [];
    for (const authenticate of authenticators) {
      try {
        return await authenticate(caller);
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
  return async (peer) => {
    let known: AuthenticationMetadata = {};
    for (const authenticate of authenticators) {
      known = merged(known, await authenticate(peer));
    }
    return known;
  };
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
