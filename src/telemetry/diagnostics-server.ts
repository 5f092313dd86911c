import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
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
  /** Why every request is refused; absent where all are answered. */
  readonly denied: string | undefined;
}

/** Answers `/-/healthy` as Buildbarn's programs do once they are up; nothing else is there. */
function listener(denied: string | undefined): RequestListener {
  return (request, response) => {
    const [status, text] =
      denied !== undefined
        ? [401, denied]
        : request.url?.split("?", 1)[0] === "/-/healthy"
          ? [200, ""]
          : [404, "not found: only /-/healthy is served"];
    response.writeHead(status, { "content-type": "text/plain; charset=utf-8" });
    response.end(request.method === "HEAD" || text === "" ? undefined : `${text}\n`);
  };
}

/**
 * Serves diagnostics by HTTP. Call it once the program is up: probes take the answer for that. Rejects with an Error that
 * names the address that cannot be had; nothing is then left open.
 */
export async function serveDiagnostics(
  servers: readonly HttpServerSettings[],
): Promise<AsyncDisposable & { readonly ports: readonly number[] }> {
  await using resources = new AsyncDisposableStack();
  const ports: number[] = [];
  for (const { addresses, tls, denied } of servers) {
    for (const { host, port } of addresses) {
      const server = tls ? tlsServer(tls, listener(denied), resources) : createServer(listener(denied));
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
