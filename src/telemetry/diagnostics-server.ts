import { once } from "node:events";
import { readFileSync } from "node:fs";
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";

/** Where and for whom to serve: what Buildbarn's http.server.Configuration says, as plain data. */
export interface HttpServerSettings {
  /** An empty host means every address. */
  readonly addresses: readonly { readonly host: string; readonly port: number }[];
  /** PEM texts, or files of them that are read again at an interval; absent means plain text. */
  readonly tls:
    | { readonly certificate: string; readonly privateKey: string }
    | {
        readonly certificatePath: string;
        readonly privateKeyPath: string;
        readonly refreshMilliseconds: number;
      }
    | undefined;
  /** Why every request is refused; absent where all are answered. */
  readonly denied: string | undefined;
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
  denied: string | undefined,
  { pages = {}, onRequest }: DiagnosticsOptions,
): RequestListener {
  return (request, response) => {
    const startedAt = performance.now();
    response.on("close", () =>
      onRequest?.(request.method ?? "", response.statusCode, (performance.now() - startedAt) / 1000),
    );
    const [path = "", query] = (request.url ?? "").split("?", 2);
    if (denied !== undefined) {
      answer(response, 401, denied);
    } else if (path === HEALTHY) {
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
  };
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
  const ports: number[] = [];
  for (const { addresses, tls, denied } of servers) {
    for (const { host, port } of addresses) {
      const listens = listener(denied, options);
      const server = tls ? tlsServer(tls, listens, resources) : createServer(listens);
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
  tls: NonNullable<HttpServerSettings["tls"]>,
  listener: RequestListener,
  resources: AsyncDisposableStack,
): TlsServer {
  if ("certificate" in tls) {
    return createTlsServer({ cert: tls.certificate, key: tls.privateKey }, listener);
  }
  const read = () => ({ cert: readFileSync(tls.certificatePath), key: readFileSync(tls.privateKeyPath) });
  const server = createTlsServer(read(), listener);
  const timer = setInterval(() => {
    try {
      server.setSecureContext(read());
    } catch {
      // Half written; until the next time, the last pair stays.
    }
  }, tls.refreshMilliseconds);
  resources.defer(() => clearInterval(timer));
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
