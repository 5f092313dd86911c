import { readFileSync } from "node:fs";
import { Agent, get } from "node:http";
import { get as getByTls, Agent as TlsAgent } from "node:https";
import type { HttpClientSettings } from "../../config/network/http-client.ts";
import type { GrpcTls } from "../../grpc/endpoint.ts";

/** How long a connection may be silent before the peer is asked whether it is there. Milliseconds. */
const KEEPALIVE_MILLISECONDS = 15_000;

/**
 * Requests a URL, and resolves once the answer is 200. The server may take any time for that. The body is not read.
 *
 * Rejects with the signal's reason, or with an Error for any other answer, redirections too, and for a connection that
 * breaks.
 */
export async function getOk(
  url: string,
  { tls, proxyUrl, headers }: HttpClientSettings,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const proxyEnv = proxyUrl === undefined ? {} : { http_proxy: proxyUrl, https_proxy: proxyUrl };
  const isPlain = new URL(url).protocol === "http:";
  // Each of one connection: this is no traffic that would gain from keeping it.
  const agent = isPlain ? new Agent({ proxyEnv }) : new TlsAgent({ proxyEnv, ...tlsOptions(tls) });
  const request = (isPlain ? get : getByTls)(url, { agent, headers: headerLists(headers) });
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort);
  request.on("socket", (socket) => socket.setKeepAlive(true, KEEPALIVE_MILLISECONDS));
  request.on("response", (response) => {
    // It can end in any way now.
    response.on("error", () => {});
    if (response.statusCode === 200) {
      resolve();
    } else {
      reject(new Error(`the server answered with status ${response.statusCode} instead of 200`));
    }
  });
  request.on("error", reject);
  // As after an answer that switches to another protocol.
  request.on("close", () => reject(new Error("the server closed the connection without an answer")));
  try {
    await promise;
  } finally {
    signal.removeEventListener("abort", abort);
    request.destroy();
    agent.destroy();
  }
}

/** Files are read for each connection, which is more often than they must be. */
function tlsOptions(tls: GrpcTls | undefined): object {
  const { serverCertificateAuthorities, serverName, clientKeyPair } = tls ?? {};
  const pair =
    clientKeyPair && "certificatePath" in clientKeyPair
      ? { cert: readFileSync(clientKeyPair.certificatePath), key: readFileSync(clientKeyPair.privateKeyPath) }
      : clientKeyPair && { cert: clientKeyPair.certificate, key: clientKeyPair.privateKey };
  return {
    ...(serverCertificateAuthorities !== undefined && { ca: serverCertificateAuthorities }),
    ...(serverName !== undefined && { servername: serverName }),
    ...pair,
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
