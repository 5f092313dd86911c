import { connect, createServer, type Server, type Socket } from "node:net";

export interface Shape {
  /** Added to each byte's way from the server to the client. */
  readonly latencyMilliseconds: number;
  /** Of all connections together. Default: any. */
  readonly bytesPerSecond?: number;
}

/** Stands between a storage and its clients, and makes it seem to be far away. */
export class ShapingProxy {
  /** For what arrives from now on. */
  shape: Shape = { latencyMilliseconds: 0 };
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** When what has been taken so far is through the line, in milliseconds of `performance.now()`. */
  #lineFree = 0;

  private constructor(target: string) {
    this.#server = createServer((client) => {
      const storage = connect(target);
      this.#track(client, storage);
      client.pipe(storage);
      this.#delay(storage, client);
    });
  }

  /** Listens at a socket's path, and connects to another's. */
  static async listen(path: string, target: string): Promise<ShapingProxy> {
    const proxy = new ShapingProxy(target);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once("error", reject);
      proxy.#server.listen(path, resolve);
    });
    return proxy;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }

  #track(client: Socket, storage: Socket): void {
    for (const [socket, other] of [
      [client, storage],
      [storage, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
  }

  #delay(from: Socket, to: Socket): void {
    from.on("data", (data) => {
      const { latencyMilliseconds, bytesPerSecond } = this.shape;
      if (latencyMilliseconds === 0 && bytesPerSecond === undefined) {
        to.write(data);
        return;
      }
      const now = performance.now();
      this.#lineFree =
        Math.max(now, this.#lineFree) + (bytesPerSecond ? (data.length / bytesPerSecond) * 1000 : 0);
      setTimeout(() => to.write(data), this.#lineFree + latencyMilliseconds - now);
    });
  }
}
