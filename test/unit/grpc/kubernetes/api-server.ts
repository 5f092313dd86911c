import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A watch that a client asked for, to which nothing has been answered. */
export interface Watch {
  readonly url: string;
  readonly response: ServerResponse;
  send(type: string, object: unknown): void;
}

/** An API server of Kubernetes on loopback, whose answers a test gives. */
export class ApiServer implements AsyncDisposable {
  readonly #watches: Watch[] = [];
  readonly #waiting: ((watch: Watch) => void)[] = [];
  readonly #server = createServer((request, response) => {
    const watch = {
      url: request.url ?? "",
      response,
      send: (type: string, object: unknown) => void response.write(`${JSON.stringify({ type, object })}\n`),
    };
    const taker = this.#waiting.shift();
    if (taker) {
      taker(watch);
    } else {
      this.#watches.push(watch);
    }
  });
  url = "";

  static async start(): Promise<ApiServer> {
    const server = new ApiServer();
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    server.url = `http://127.0.0.1:${(server.#server.address() as AddressInfo).port}`;
    return server;
  }

  /** The next watch that is asked for, or was and has not been taken. */
  next(): Promise<Watch> {
    const watch = this.#watches.shift();
    return watch ? Promise.resolve(watch) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }
}

/** An Endpoints object of pods with these addresses. */
export function endpoints(ips: readonly string[], ports: readonly object[] = [{ name: "grpc", port: 8981 }]) {
  return { kind: "Endpoints", subsets: [{ addresses: ips.map((ip) => ({ ip })), ports }] };
}
