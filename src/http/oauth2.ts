import { SingleFlight } from "../async/single-flight.ts";
import type { HttpRequester, OAuth2Settings } from "./settings.ts";
import { type Token, TokenEndpoint } from "./token-endpoint.ts";

/** A token is not used any more so long before it expires. */
const EXPIRY_MARGIN_MILLISECONDS = 10_000;
const REQUEST_TIMEOUT_MILLISECONDS = 30_000;

/** Has tokens from an OAuth 2 server, each as long as it is valid. */
export class TokenSource {
  readonly #grant: Readonly<Record<string, string>>;
  readonly #endpoint: TokenEndpoint;
  readonly #now: () => number;
  readonly #requests = new SingleFlight<Token>();
  #token: Token | undefined;

  constructor(settings: OAuth2Settings, client: HttpRequester, now: () => number = Date.now) {
    const { scopes } = settings;
    this.#grant = {
      grant_type: "client_credentials",
      ...(scopes.length > 0 && { scope: scopes.join(" ") }),
    };
    this.#endpoint = new TokenEndpoint(settings, client, now);
    this.#now = now;
  }

  /** The value of an Authorization header, such as "Bearer abc". Rejects with an Error where no token can be had. */
  async authorization(signal?: AbortSignal): Promise<string> {
    const { expires = Number.POSITIVE_INFINITY } = this.#token ?? { expires: Number.NEGATIVE_INFINITY };
    if (this.#token === undefined || expires - EXPIRY_MARGIN_MILLISECONDS <= this.#now()) {
      this.#token = await this.#requests.run("", signal, (ended) =>
        this.#endpoint.request(
          this.#grant,
          AbortSignal.any([ended, AbortSignal.timeout(REQUEST_TIMEOUT_MILLISECONDS)]),
        ),
      );
    }
    return this.#token.authorization;
  }
}
