import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";

/** Said over the lifeline when worker and runners have been seen to work: from now on they are kept running. */
export const READY = "ready.";
/** Said over the lifeline before it is cut in order. */
export const STOP = "stop.";

/**
 * A connection to the worker host for as long as the cluster lives: when it ends, however that comes, worker and
 * runners stop.
 */
export class Lifeline {
  readonly path: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {}).on("close", () => this.#sockets.delete(socket));
    });
  }

  static async listen(path: string): Promise<Lifeline> {
    const server = createServer();
    server.listen(path);
    await once(server, "listening");
    return new Lifeline(path, server);
  }

  /** Worker and runners are to be kept running. */
  sayReady(): void {
    for (const socket of this.#sockets) {
      socket.write(READY);
    }
  }

  /** Worker and runners are to stop in order. */
  cut(): void {
    this.#server.close();
    for (const socket of this.#sockets) {
      socket.end(STOP);
    }
  }
}
