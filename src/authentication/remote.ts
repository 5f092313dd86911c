import { createHash } from "node:crypto";
import { create, fromJson, toBinary, toJson } from "@bufbuild/protobuf";
import { type Timestamp, timestampMs, ValueSchema } from "@bufbuild/protobuf/wkt";
import { LRUCache } from "lru-cache";
import { SingleFlight } from "../async/single-flight.ts";
import type { CallCounts } from "../grpc/calls/counts.ts";
import { type Client, createClient } from "../grpc/client.ts";
import { type EndpointChannel, openChannel } from "../grpc/endpoint.ts";
import { statusFromError } from "../grpc/status.ts";
import {
  type AuthenticateRequest,
  AuthenticateRequestSchema,
  type AuthenticateResponse,
  Authentication,
  AuthenticationMetadataSchema,
} from "../proto/gen/buildbarn/auth/auth_pb.ts";
import { unauthenticated } from "./error.ts";
import type { AuthenticationMetadata } from "./metadata.ts";
import type { Peer } from "./peer.ts";
import type { RemoteSettings } from "./settings.ts";

/** What the service says of a request: whom it stands for, or why nobody is let in. */
interface Verdict {
  readonly outcome: { readonly allow: AuthenticationMetadata } | { readonly deny: string };
  /** Milliseconds since the epoch until which it holds for other requests with the same headers. */
  readonly expires: number;
}

/**
 * Lets in whomever a buildbarn.auth.Authentication service does, which is shown headers of the request. Its verdicts are
 * remembered for as long as it says; of several requests with the same headers at the same time, it is asked about one.
 */
export class RemoteAuthenticator implements Disposable {
  readonly #settings: RemoteSettings;
  readonly #now: () => number;
  readonly #channel: EndpointChannel;
  readonly #client: Client<typeof Authentication>;
  /** By the SHA-256 of the question, so that no credentials stay in memory. */
  readonly #verdicts: LRUCache<string, Verdict> | undefined;
  readonly #questions = new SingleFlight<Verdict>();

  /** Throws an Error for files of the endpoint that cannot be read. */
  constructor(settings: RemoteSettings, callCounts?: CallCounts, now: () => number = Date.now) {
    const { endpoint, maximumCacheSize } = settings;
    this.#settings = settings;
    this.#now = now;
    this.#channel = openChannel(endpoint);
    this.#client = createClient(Authentication, this.#channel, { callCounts, tracing: endpoint.tracing });
    // Not as `max`, for which it would allocate at once.
    const options = { maxSize: maximumCacheSize, sizeCalculation: () => 1 };
    this.#verdicts = maximumCacheSize > 0 ? new LRUCache(options) : undefined;
  }

  /** Rejects with an AuthenticationError, and with the signal's reason for a request that is given up. */
  async authenticate(peer: Peer): Promise<AuthenticationMetadata> {
    const { outcome } = await this.#verdict(this.#question(peer), peer);
    if ("deny" in outcome) {
      throw unauthenticated(outcome.deny);
    }
    return outcome.allow;
  }

  [Symbol.dispose](): void {
    this.#channel.close();
  }

  #question(peer: Peer): AuthenticateRequest {
    const { headers, scope } = this.#settings;
    const shown = headers.map((name) => [name, peer.header(name.toLowerCase())] as const);
    return create(AuthenticateRequestSchema, {
      requestMetadata: Object.fromEntries(
        shown.filter(([, value]) => value.length > 0).map(([name, value]) => [name, { value: [...value] }]),
      ),
      ...(scope !== undefined && { scope: fromJson(ValueSchema, scope) }),
    });
  }

  async #verdict(question: AuthenticateRequest, peer: Peer): Promise<Verdict> {
    const verdicts = this.#verdicts;
    if (verdicts === undefined) {
      return this.#ask(question, peer, peer.signal);
    }
    const key = createHash("sha256").update(toBinary(AuthenticateRequestSchema, question)).digest("base64");
    for (;;) {
      const known = verdicts.get(key);
      if (known !== undefined && this.#now() < known.expires) {
        return known;
      }
      const isAsked = this.#questions.has(key);
      try {
        const verdict = await this.#questions.run(key, peer.signal, (signal) =>
          this.#ask(question, peer, signal),
        );
        if (this.#now() < verdict.expires) {
          verdicts.set(key, verdict);
        }
        return verdict;
      } catch (error) {
        // Another request's question failed, and with it perhaps only that request's headers: this one asks by itself.
        if (!isAsked || peer.signal.aborted) {
          throw error;
        }
      }
    }
  }

  /** Rejects with an AuthenticationError where there is no answer that could be used. */
  async #ask(question: AuthenticateRequest, peer: Peer, signal: AbortSignal): Promise<Verdict> {
    let response: AuthenticateResponse;
    try {
      response = await this.#client.authenticate(question, {
        signal,
        ...(peer.metadata && { incoming: { metadata: peer.metadata, authentication: {} } }),
      });
    } catch (error) {
      const { message } = statusFromError(error);
      throw unauthenticated(`Remote authentication failed: ${message}`, { cause: error });
    }
    return { outcome: outcomeOf(response), expires: expiryOf(response.cacheExpirationTime) };
  }
}

function outcomeOf({ verdict }: AuthenticateResponse): Verdict["outcome"] {
  switch (verdict.case) {
    case "allow":
      try {
        return { allow: toJson(AuthenticationMetadataSchema, verdict.value) as AuthenticationMetadata };
      } catch (error) {
        return { deny: `Bad authentication response: ${(error as Error).message}` };
      }
    case "deny":
      return { deny: verdict.value };
    case undefined:
      return { deny: "Invalid authentication verdict" };
  }
}

/** The first second of the year 1, and the last one of 9999. */
const EARLIEST_SECONDS = -62_135_596_800n;
const LATEST_SECONDS = 253_402_300_799n;

function expiryOf(time: Timestamp | undefined): number {
  if (time === undefined) {
    return Number.NEGATIVE_INFINITY;
  }
  const { seconds, nanos } = time;
  if (seconds < EARLIEST_SECONDS || seconds > LATEST_SECONDS || nanos < 0 || nanos > 999_999_999) {
    throw unauthenticated(
      `Invalid authentication expiration time: ${seconds} seconds and ${nanos} nanoseconds since 1970`,
    );
  }
  return timestampMs(time);
}
