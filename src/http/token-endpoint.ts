import type { HttpRequester, HttpResponse, TokenEndpointSettings } from "./settings.ts";

const MAXIMUM_ANSWER_BYTES = 1024 * 1024;

/** An access token, and what came with it. */
export interface Token {
  /** For an Authorization header. */
  readonly authorization: string;
  /** Milliseconds since the epoch; undefined if the server does not say. */
  readonly expires: number | undefined;
  readonly refreshToken: string | undefined;
  /** Of OpenID Connect. */
  readonly idToken: string | undefined;
}

/** Asks an OAuth 2 server for tokens (RFC 6749 §3.2). */
export class TokenEndpoint {
  readonly #settings: TokenEndpointSettings;
  readonly #client: HttpRequester;
  readonly #now: () => number;
  /** Whether the server wants the credentials in the body; unknown until it has taken them. */
  #inBody: boolean | undefined;

  constructor(settings: TokenEndpointSettings, client: HttpRequester, now: () => number) {
    this.#settings = settings;
    this.#client = client;
    this.#now = now;
  }

  /**
   * Servers differ in where they want the credentials: in a header, which all should take, or in the body. Rejects with an
   * Error, which does not name the server.
   */
  async request(grant: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Token> {
    if (this.#inBody !== undefined) {
      return this.#requestWith(grant, this.#inBody, signal);
    }
    try {
      const token = await this.#requestWith(grant, false, signal);
      this.#inBody = false;
      return token;
    } catch {
      signal.throwIfAborted();
      const token = await this.#requestWith(grant, true, signal);
      this.#inBody = true;
      return token;
    }
  }

  async #requestWith(
    grant: Readonly<Record<string, string>>,
    inBody: boolean,
    signal: AbortSignal,
  ): Promise<Token> {
    const { clientId, clientSecret, tokenEndpointUrl } = this.#settings;
    const form = new URLSearchParams(grant);
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
      expires: seconds > 0 ? this.#now() + seconds * 1000 : undefined,
      refreshToken: textOf(fields.refresh_token),
      idToken: textOf(fields.id_token),
    };
  }
}

function textOf(field: unknown): string | undefined {
  return typeof field === "string" && field !== "" ? field : undefined;
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
