import { SingleFlight } from "../async/single-flight.ts";
import type { HttpRequester, HttpResponse, OAuth2Settings } from "./settings.ts";

/** A token is not used any more so long before it expires. */
const EXPIRY_MARGIN_MILLISECONDS = 10_000;
const REQUEST_TIMEOUT_MILLISECONDS = 30_000;
const MAXIMUM_ANSWER_BYTES = 1024 * 1024;

interface Token {
  readonly authorization: string;
  /** Milliseconds since the epoch. */
  readonly expires: number;
}

/** Has tokens from an OAuth 2 server, each as long as it is valid. */
export class TokenSource {
  readonly #settings: OAuth2Settings;
  readonly #client: HttpRequester;
  readonly #now: () => number;
  readonly #requests = new SingleFlight<Token>();
  #token: Token | undefined;
  /** Whether the server wants the credentials in the body; unknown until it has taken them. */
  #inBody: boolean | undefined;

  constructor(settings: OAuth2Settings, client: HttpRequester, now: () => number = Date.now) {
    this.#settings = settings;
    this.#client = client;
    this.#now = now;
  }

  /** The value of an Authorization header, such as "Bearer abc". Rejects with an Error where no token can be had. */
  async authorization(signal?: AbortSignal): Promise<string> {
    if (this.#token === undefined || this.#token.expires - EXPIRY_MARGIN_MILLISECONDS <= this.#now()) {
      this.#token = await this.#requests.run("", signal, (ended) =>
        this.#request(AbortSignal.any([ended, AbortSignal.timeout(REQUEST_TIMEOUT_MILLISECONDS)])),
      );
    }
    return this.#token.authorization;
  }

  /** Servers differ in where they want the credentials: in a header, which all should take, or in the body. */
  async #request(signal: AbortSignal): Promise<Token> {
    if (this.#inBody !== undefined) {
      return this.#requestWith(this.#inBody, signal);
    }
    try {
      const token = await this.#requestWith(false, signal);
      this.#inBody = false;
      return token;
    } catch {
      signal.throwIfAborted();
      const token = await this.#requestWith(true, signal);
      this.#inBody = true;
      return token;
    }
  }

  async #requestWith(inBody: boolean, signal: AbortSignal): Promise<Token> {
    const { clientId, clientSecret, tokenEndpointUrl, scopes } = this.#settings;
    const form = new URLSearchParams({ grant_type: "client_credentials" });
    if (scopes.length > 0) {
      form.set("scope", scopes.join(" "));
    }
    const headers: [string, string][] = [["content-type", "application/x-www-form-urlencoded"]];
    if (inBody) {
      form.set("client_id", clientId);
      form.set("client_secret", clientSecret);
    } else {
      const credentials = [clientId, clientSecret].map(formEncoded).join(":");
      headers.push(["authorization", `Basic ${Buffer.from(credentials).toString("base64")}`]);
    }
    using response = await this.#client.request(
      tokenEndpointUrl,
      { method: "POST", headers, body: form.toString() },
      signal,
    );
    return this.#tokenOf(response, await response.text(MAXIMUM_ANSWER_BYTES));
  }

  #tokenOf({ status, contentType }: HttpResponse, text: string): Token {
    const fields = fieldsOf(contentType, text);
    if (status < 200 || status > 299 || fields.error) {
      const reason = [fields.error, fields.error_description].filter(Boolean).join(": ");
      throw new Error(`the token server answered with status ${status}${reason && `: ${reason}`}`);
    }
    if (typeof fields.access_token !== "string" || fields.access_token === "") {
      throw new Error("the token server's answer has no access_token");
    }
    const seconds = Number(fields.expires_in ?? 0);
    return {
      authorization: `${tokenType(fields.token_type)} ${fields.access_token}`,
      expires: seconds > 0 ? this.#now() + seconds * 1000 : Number.POSITIVE_INFINITY,
    };
  }
}

function formEncoded(text: string): string {
  return new URLSearchParams({ "": text }).toString().slice(1);
}

/** An answer is JSON, or, of some servers, a form. */
function fieldsOf(contentType: string, text: string): Record<string, unknown> {
  if (/^(?:application\/x-www-form-urlencoded|text\/plain)\b/.test(contentType)) {
    return Object.fromEntries(new URLSearchParams(text));
  }
  try {
    const fields: unknown = JSON.parse(text);
    return typeof fields === "object" && fields !== null ? { ...fields } : {};
  } catch {
    return {};
  }
}

/** As it is to be spelt in a header. */
function tokenType(type: unknown): string {
  const known: Record<string, string> = { bearer: "Bearer", mac: "MAC", basic: "Basic" };
  return typeof type === "string" && type !== "" ? (known[type.toLowerCase()] ?? type) : "Bearer";
}
