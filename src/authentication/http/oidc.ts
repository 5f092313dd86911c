import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { ServerResponse } from "node:http";
import { fromJson, toJson } from "@bufbuild/protobuf";
import { durationFromMs, durationMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { HttpClient } from "../../http/client.ts";
import type { HttpRequester } from "../../http/settings.ts";
import { type Token, TokenEndpoint } from "../../http/token-endpoint.ts";
import { JmespathExpression } from "../../jmespath/expression.ts";
import { AuthenticationMetadataSchema } from "../../proto/gen/buildbarn/auth/auth_pb.ts";
import type {
  CookieValue_Authenticated,
  CookieValue_Authenticating,
} from "../../proto/gen/buildbarn/http/oidc/oidc_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { AuthenticationError, unauthenticated } from "../error.ts";
import { type AuthenticationMetadata, metadataFrom } from "../metadata.ts";
import { idTokenClaims, userInfo } from "./claims.ts";
import type { Exchange } from "./exchange.ts";
import { SessionCookie } from "./session-cookie.ts";
import type { OidcSettings } from "./settings.ts";

/** How long a provider may take to answer. */
const REQUEST_MILLISECONDS = 30_000;
/** How long a first access token is good for, if the provider does not say. */
const DEFAULT_EXPIRATION_MILLISECONDS = 60_000;

/**
 * Lets in whoever a provider of OpenID Connect has identified, by the authorization code grant with PKCE (RFC 7636). Nothing
 * is kept here: a session is in a cookie, sealed.
 */
export class OidcAuthenticator implements Disposable {
  readonly #settings: OidcSettings;
  readonly #redirectPath: string;
  readonly #cookie: SessionCookie;
  readonly #metadataExtraction: JmespathExpression;
  readonly #client: HttpRequester;
  readonly #endpoint: TokenEndpoint;
  readonly #now: () => number;

  constructor(settings: OidcSettings, now: () => number = Date.now) {
    this.#settings = settings;
    this.#redirectPath = new URL(settings.redirectUrl).pathname;
    this.#cookie = new SessionCookie(Buffer.from(settings.cookieSeed, "base64"));
    this.#metadataExtraction = new JmespathExpression(settings.metadataExtraction);
    this.#client = new HttpClient(settings.httpClient);
    this.#endpoint = new TokenEndpoint(settings, this.#client, now);
    this.#now = now;
  }

  /** Resolves to undefined for a request that it has answered. Rejects with an AuthenticationError. */
  async authenticate({ request, response, peer }: Exchange): Promise<AuthenticationMetadata | undefined> {
    const url = request.url ?? "";
    const [path = "", query = ""] = url.split("?", 2);
    const session = this.#cookie.read(peer.header("cookie"));
    const signal = AbortSignal.any([peer.signal, AbortSignal.timeout(REQUEST_MILLISECONDS)]);
    if (path === this.#redirectPath) {
      if (session === undefined) {
        throw invalid("No valid OIDC session state cookie found");
      }
      if (session.case !== "authenticating") {
        throw invalid("OIDC session state cookie cannot be used to validate callback state");
      }
      await this.#logIn(session.value, new URLSearchParams(query), response, signal);
      return undefined;
    }
    const known =
      session?.case === "authenticated" ? await this.#continue(session.value, response, signal) : undefined;
    if (known === undefined) {
      this.#sendToProvider(url, peer.header("sec-fetch-dest"), response);
    }
    return known;
  }

  [Symbol.dispose](): void {
    this.#metadataExtraction[Symbol.dispose]();
  }

  /** The provider has sent the user back: who it is, and to where the user wanted. */
  async #logIn(
    { stateVerifier, codeVerifier, originalRequestUri }: CookieValue_Authenticating,
    query: URLSearchParams,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const state = Buffer.from(query.get("state") ?? "", "base64url");
    if (state.length !== stateVerifier.length || !timingSafeEqual(state, stateVerifier)) {
      throw invalid("State verifier does not match with OIDC session state cookie");
    }
    let token: Token;
    try {
      token = await this.#endpoint.request(
        {
          grant_type: "authorization_code",
          code: query.get("code") ?? "",
          redirect_uri: this.#settings.redirectUrl,
          code_verifier: Buffer.from(codeVerifier).toString("base64url"),
        },
        signal,
      );
    } catch (error) {
      throw unknown(`Failed to obtain token: ${(error as Error).message}`, error);
    }
    await this.#open(token, DEFAULT_EXPIRATION_MILLISECONDS, response, signal);
    redirect(response, onThisServer(originalRequestUri));
  }

  /** Who the session is of; undefined where it is over, and cannot be continued. */
  async #continue(
    { authenticationMetadata, expiration, refreshToken, defaultExpiration }: CookieValue_Authenticated,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<AuthenticationMetadata | undefined> {
    if (authenticationMetadata && expiration && this.#now() < timestampMs(expiration)) {
      return toJson(AuthenticationMetadataSchema, authenticationMetadata) as AuthenticationMetadata;
    }
    if (refreshToken === "") {
      return undefined;
    }
    try {
      const token = await this.#endpoint.request(
        { grant_type: "refresh_token", refresh_token: refreshToken },
        signal,
      );
      const milliseconds = defaultExpiration
        ? durationMs(defaultExpiration)
        : DEFAULT_EXPIRATION_MILLISECONDS;
      return await this.#open(
        { ...token, refreshToken: token.refreshToken ?? refreshToken },
        milliseconds,
        response,
        signal,
      );
    } catch {
      // The user logs in anew.
      return undefined;
    }
  }

  /** Begins or continues a session with a token. A provider that does not say for how long is asked ever less often. */
  async #open(
    token: Token,
    defaultExpiration: number,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<AuthenticationMetadata> {
    const { userInfoEndpointUrl } = this.#settings;
    const claims =
      userInfoEndpointUrl === undefined
        ? idTokenClaims(token)
        : await userInfo(this.#client, userInfoEndpointUrl, token, signal);
    let known: AuthenticationMetadata;
    try {
      known = metadataFrom(this.#metadataExtraction.search(claims));
    } catch (error) {
      throw error instanceof AuthenticationError
        ? error
        : unknown(`Failed to convert claims to authentication metadata: ${(error as Error).message}`, error);
    }
    const { expires, refreshToken = "" } = token;
    const value = {
      authenticationMetadata: fromJson(AuthenticationMetadataSchema, known),
      expiration: timestampFromMs(expires ?? this.#now() + defaultExpiration),
      refreshToken,
      defaultExpiration: durationFromMs(
        expires === undefined
          ? Math.min(2 * defaultExpiration, LONGEST_EXPIRATION_MILLISECONDS)
          : defaultExpiration,
      ),
    };
    response.setHeader("set-cookie", this.#cookie.set({ case: "authenticated", value }));
    return known;
  }

  /** Only pages go there: what a page loads cannot log in. */
  #sendToProvider(
    url: string,
    [fetchDestination = "document"]: readonly string[],
    response: ServerResponse,
  ): void {
    if (fetchDestination !== "document" && fetchDestination !== "") {
      throw unauthenticated("No valid OIDC session state cookie found");
    }
    const { authorizationEndpointUrl, clientId, redirectUrl, scopes } = this.#settings;
    const stateVerifier = randomBytes(16);
    const codeVerifier = randomBytes(32);
    const value = { stateVerifier, codeVerifier, originalRequestUri: url };
    response.setHeader("set-cookie", this.#cookie.set({ case: "authenticating", value }));
    const location = new URL(authorizationEndpointUrl);
    const parameters = {
      response_type: "code",
      client_id: clientId,
      redirect_uri: redirectUrl,
      ...(scopes.length > 0 && { scope: scopes.join(" ") }),
      state: stateVerifier.toString("base64url"),
      code_challenge: createHash("sha256").update(codeVerifier.toString("base64url")).digest("base64url"),
      code_challenge_method: "S256",
    };
    for (const [name, text] of Object.entries(parameters)) {
      location.searchParams.append(name, text);
    }
    redirect(response, location.href);
  }
}

/** Some 8 years. */
const LONGEST_EXPIRATION_MILLISECONDS = 2 ** 38;

/** A browser takes what begins with two slashes, of either kind, for another server. */
function onThisServer(uri: string): string {
  return `/${uri.replace(/^[/\\]+/, "")}`;
}

function redirect(response: ServerResponse, location: string): void {
  response.writeHead(303, { location, "cache-control": "no-store" }).end();
}

function invalid(message: string): AuthenticationError {
  return new AuthenticationError(Code.INVALID_ARGUMENT, message);
}

function unknown(message: string, cause: unknown): AuthenticationError {
  return new AuthenticationError(Code.UNKNOWN, message, { cause });
}
