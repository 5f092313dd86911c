import { Agent, type IncomingMessage, request as requestPlainly } from "node:http";
import { request as requestByTls, Agent as TlsAgent } from "node:https";
import { TokenSource } from "./oauth2.ts";
import type { HttpClientSettings, HttpRequest, HttpRequester, HttpStream } from "./settings.ts";
import { cipherOptions, keyPairOptions, type TlsClient } from "./tls.ts";

/** How long a connection may be silent before the peer is asked whether it is there. Milliseconds. */
const KEEPALIVE_MILLISECONDS = 15_000;

export class HttpClient implements HttpRequester {
  readonly #settings: HttpClientSettings;
  readonly #tokens: TokenSource | undefined;

  constructor(settings: HttpClientSettings) {
    this.#settings = settings;
    this.#tokens =
      settings.oauth2 && new TokenSource(settings.oauth2, new HttpClient(settings.oauth2.httpClient));
  }

  /** Requests a URL, and resolves once the answer is 200, whose body is not read. Rejects as {@link request} does. */
  async getOk(url: string, signal: AbortSignal): Promise<void> {
    using response = await this.request(url, {}, signal);
    if (response.status !== 200) {
      throw new Error(`the server answered with status ${response.status} instead of 200`);
    }
  }

  /**
   * Resolves to the answer, redirections too. The server may take any time for that. Rejects with the signal's reason, or
   * with an Error for a connection that breaks.
   */
  async request(
    url: string,
    { method = "GET", headers = [], body }: HttpRequest,
    signal: AbortSignal,
  ): Promise<HttpStream> {
    signal.throwIfAborted();
    const authorization = await this.#tokens?.authorization(signal);
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const { proxyUrl, tls } = this.#settings;
    const proxyEnv = proxyUrl === undefined ? {} : { http_proxy: proxyUrl, https_proxy: proxyUrl };
    const isPlain = new URL(url).protocol === "http:";
    // Each of one connection: this is no traffic that would gain from keeping it.
    const agent = isPlain ? new Agent({ proxyEnv }) : new TlsAgent({ proxyEnv, ...tlsOptions(tls) });
    const all = [...this.#settings.headers, ...headers];
    const request = (isPlain ? requestPlainly : requestByTls)(url, {
      agent,
      method,
      headers: { ...headerLists(all), ...(authorization !== undefined && { authorization }) },
    });
    const abort = () => reject(signal.reason);
    const end = () => {
      signal.removeEventListener("abort", abort);
      request.destroy();
      agent.destroy();
    };
    signal.addEventListener("abort", abort);
    request.on("socket", (socket) => socket.setKeepAlive(true, KEEPALIVE_MILLISECONDS));
    request.on("response", resolve);
    request.on("error", reject);
    // As after an answer that switches to another protocol.
    request.on("close", () => reject(new Error("the server closed the connection without an answer")));
    request.end(body);
    try {
      return httpResponse(await promise, end, signal);
    } catch (error) {
      end();
      throw error;
    }
  }
}

function httpResponse(response: IncomingMessage, end: () => void, signal: AbortSignal): HttpStream {
  // It can end in any way when nobody reads it.
  response.on("error", () => {});
  return {
    status: response.statusCode ?? 0,
    contentType: response.headers["content-type"] ?? "",
    async text(maximumBytes) {
      const pieces: Buffer[] = [];
      let bytes = 0;
      for await (const piece of bodyOf(response, signal)) {
        bytes += piece.length;
        if (bytes > maximumBytes) {
          throw new Error(`the server's answer has more than ${maximumBytes} bytes`);
        }
        pieces.push(piece);
      }
      return Buffer.concat(pieces).toString();
    },
    async *lines(maximumBytes) {
      const pieces: Buffer[] = [];
      let bytes = 0;
      const line = () => {
        bytes = 0;
        return Buffer.concat(pieces.splice(0)).toString();
      };
      for await (const piece of bodyOf(response, signal)) {
        let start = 0;
        for (let end = piece.indexOf(NEWLINE); end !== -1; end = piece.indexOf(NEWLINE, start)) {
          pieces.push(piece.subarray(start, end));
          start = end + 1;
          yield* [line()].filter((text) => text !== "");
        }
        pieces.push(piece.subarray(start));
        bytes += piece.length - start;
        if (bytes > maximumBytes) {
          throw new Error(`the server's answer has a line of more than ${maximumBytes} bytes`);
        }
      }
      yield* [line()].filter((text) => text !== "");
    },
    [Symbol.dispose]: end,
  };
}

const NEWLINE = 0x0a;

async function* bodyOf(response: IncomingMessage, signal: AbortSignal): AsyncGenerator<Buffer> {
  const abort = () => response.destroy(signal.reason as Error);
  signal.addEventListener("abort", abort);
  try {
    yield* response as AsyncIterable<Buffer>;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** Files are read for each connection, which is more often than they must be. */
function tlsOptions(tls: TlsClient | undefined): object {
  const { serverCertificateAuthorities, serverName, clientKeyPair, cipherSuites } = tls ?? {};
  return {
    ...cipherOptions(cipherSuites),
    ...(serverCertificateAuthorities !== undefined && { ca: serverCertificateAuthorities }),
    ...(serverName !== undefined && { servername: serverName }),
    ...(clientKeyPair && keyPairOptions(clientKeyPair)),
  };
}

function headerLists(headers: HttpClientSettings["headers"]): Record<string, string[]> {
  const lists: Record<string, string[]> = {};
  for (const [name, value] of headers) {
    const list = lists[name.toLowerCase()] ?? [];
    list.push(value);
    lists[name.toLowerCase()] = list;
  }
  return lists;
}
