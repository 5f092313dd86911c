import { connect, createServer, type Server, type Socket } from "node:net";

/** How far away the storage is. May change, for what arrives from then on. */
export interface Distance {
  /** Added to each byte's way from the storage to its client. */
  latencyMilliseconds: number;
  /** Of all connections of a proxy together. */
  bytesPerSecond: number;
}

/** As it is on one machine. */
export const NEAR: Readonly<Distance> = {
  latencyMilliseconds: 0,
  bytesPerSecond: Number.POSITIVE_INFINITY,
};

/** Stands between a storage and its clients, and makes it seem to be far away. */
export class ShapingProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** When what has been taken so far is through the line, in milliseconds of `performance.now()`. */
  #lineFree = 0;
  readonly #distance: Readonly<Distance>;

  private constructor(target: string, distance: Readonly<Distance>) {
    this.#distance = distance;
    this.#server = createServer((client) => {
      const storage = connect(target);
      this.#track(client, storage);
      client.pipe(storage);
      this.#delay(storage, client);
    });
  }

  /** Listens at a socket's path, and connects to another's. */
  static async listen(path: string, target: string, distance: Readonly<Distance>): Promise<ShapingProxy> {
    const proxy = new ShapingProxy(target, distance);
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
      const { latencyMilliseconds, bytesPerSecond } = this.#distance;
      if (latencyMilliseconds === 0 && bytesPerSecond === Number.POSITIVE_INFINITY) {
        to.write(data);
        return;
      }
      const now = performance.now();
      this.#lineFree = Math.max(now, this.#lineFree) + (data.length / bytesPerSecond) * 1000;
      setTimeout(() => to.write(data), this.#lineFree + latencyMilliseconds - now);
    });
  }
}
