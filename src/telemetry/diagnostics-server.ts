import { once } from "node:events";
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import { createHttpAuthenticator, type HttpAuthenticator } from "../authentication/http/authenticator.ts";
import { exchangeOf } from "../authentication/http/exchange.ts";
import { refusalOf } from "../authentication/http/refusal.ts";
import type { HttpAuthenticationSettings } from "../authentication/http/settings.ts";
import {
  cipherOptions,
  keyPairOptions,
  type TlsServer as TlsServerSettings,
  watchKeyPair,
} from "../http/tls.ts";

/** Where and for whom to serve: what Buildbarn's http.server.Configuration says, as plain data. */
export interface HttpServerSettings {
  /** An empty host means every address. */
  readonly addresses: readonly { readonly host: string; readonly port: number }[];
  /** Absent means plain text. */
  readonly tls: TlsServerSettings | undefined;
  /** Who is answered. */
  readonly authentication: HttpAuthenticationSettings;
}

/** Answers a request, to a path of its own. What it throws is answered with 500. */
export type Page = (
  request: IncomingMessage,
  response: ServerResponse,
  query: URLSearchParams,
) => void | Promise<void>;

/** Pages by their paths, such as "/metrics". */
export type Pages = Readonly<Record<string, Page>>;

/** Says that the program is up, as Buildbarn's programs do. */
const HEALTHY = "/-/healthy";

export interface DiagnosticsOptions {
  /** Beside {@link HEALTHY}. */
  readonly pages?: Pages;
  /** Called with each request once it has been answered. */
  readonly onRequest?: (method: string, status: number, seconds: number) => void;
}

function listener(
  authenticate: HttpAuthenticator,
  { pages = {}, onRequest }: DiagnosticsOptions,
): RequestListener {
  return (request, response) => {
    const startedAt = performance.now();
    response.on("close", () =>
      onRequest?.(request.method ?? "", response.statusCode, (performance.now() - startedAt) / 1000),
    );
    authenticate(exchangeOf(request, response))
      .then(
        (known) => known && serve(pages, request, response),
        (error: unknown) => {
          const { status, text } = refusalOf(error);
          answer(response, status, text);
        },
      )
      // The answer had begun, and cannot be completed.
      .catch(() => response.destroy());
  };
}

function serve(pages: Pages, request: IncomingMessage, response: ServerResponse): void {
  const [path = "", query] = (request.url ?? "").split("?", 2);
  if (path === HEALTHY) {
    answer(response, 200, "");
  } else if (request.method !== "GET" && request.method !== "HEAD") {
    answer(response, 405, "only GET and HEAD are served");
  } else {
    const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
    if (page === undefined) {
      const served = [HEALTHY, ...Object.keys(pages)].join(", ");
      answer(response, 404, `not found: only ${served} ${Object.keys(pages).length ? "are" : "is"} served`);
      return;
    }
    Promise.resolve()
      .then(() => page(request, response, new URLSearchParams(query)))
      .catch((error: Error) => {
        if (response.headersSent) {
          response.destroy();
        } else {
          answer(response, 500, error.message);
        }
      });
  }
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" });
  response.end(text === "" ? undefined : `${text}\n`);
}

/**
 * Serves diagnostics by HTTP. Call it once the program is up: probes take the answer for that. Rejects with an Error that
 * names the address that cannot be had; nothing is then left open.
 */
export async function serveDiagnostics(
  servers: readonly HttpServerSettings[],
  options: DiagnosticsOptions = {},
): Promise<AsyncDisposable & { readonly ports: readonly number[] }> {
  await using resources = new AsyncDisposableStack();
  const policies = resources.adopt(new DisposableStack(), (stack) => stack.dispose());
  const ports: number[] = [];
  for (const { addresses, tls, authentication } of servers) {
    const listen = listener(createHttpAuthenticator(authentication, policies), options);
    for (const { host, port } of addresses) {
      const server = tls ? tlsServer(tls, listen, resources) : createServer(listen);
      resources.adopt(server, close);
      server.listen(port, host === "" ? undefined : host);
      await once(server, "listening").catch((error: Error) => {
        throw new Error(`cannot serve diagnostics on ${host}:${port}: ${error.message}`, { cause: error });
      });
      const address = server.address();
      ports.push(typeof address === "object" && address !== null ? address.port : port);
    }
  }
  const opened = resources.move();
  return { ports, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

function tlsServer(
  tls: TlsServerSettings,
  listener: RequestListener,
  resources: AsyncDisposableStack,
): TlsServer {
  const server = createTlsServer(
    { ...keyPairOptions(tls.keyPair), ...cipherOptions(tls.cipherSuites) },
    listener,
  );
  resources.defer(watchKeyPair(tls, (options) => server.setSecureContext(options)));
  return server;
}

async function close(server: Server): Promise<void> {
  if (!server.listening) {
    return;
  }
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
}
