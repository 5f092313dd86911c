import type { TlsClient } from "./tls.ts";

/** How to make requests by HTTP: what Buildbarn's http.client.Configuration says, as plain data. */
export interface HttpClientSettings {
  /** For https; absent means the system's authorities. */
  readonly tls: TlsClient | undefined;
  readonly proxyUrl: string | undefined;
  /** A name may occur more than once. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Where a token for each request comes from. */
  readonly oauth2: OAuth2Settings | undefined;
}

export interface HttpRequest {
  readonly method?: "GET" | "POST" | "PUT";
  readonly headers?: HttpClientSettings["headers"];
  readonly body?: string;
}

/** What makes requests. */
export interface HttpRequester {
  request(url: string, request: HttpRequest, signal: AbortSignal): Promise<HttpResponse>;
}

/** An answer, whose connection ends when it is disposed of. */
export interface HttpResponse extends Disposable {
  readonly status: number;
  readonly contentType: string;
  /** The body as text. Rejects with an Error if it is longer, in bytes, or the connection breaks. */
  text(maximumBytes: number): Promise<string>;
}

/** An answer that may go on and on. */
export interface HttpStream extends HttpResponse {
  /** The body's lines as they arrive, without empty ones. Throws an Error as `text` does, for the bytes of one line. */
  lines(maximumBytes: number): AsyncIterable<string>;
}

/** Who asks an OAuth 2 server for tokens, and where. */
export interface TokenEndpointSettings {
  readonly clientId: string;
  readonly clientSecret: string;
  readonly tokenEndpointUrl: string;
}

/** The client credentials grant (RFC 6749 §4.4): what Buildbarn's OAuth2ClientCredentials says, as plain data. */
export interface OAuth2Settings extends TokenEndpointSettings {
  readonly scopes: readonly string[];
  /** For requests of tokens. */
  readonly httpClient: HttpClientSettings;
}
