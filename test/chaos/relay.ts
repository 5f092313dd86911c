import {
  type AddressInfo,
  connect,
  createServer,
  type ListenOptions,
  type NetConnectOpts,
  type Server,
  type Socket,
} from "node:net";

/** Passes connections on from one socket to another, and cuts them. */
export class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isOpen = true;

  private constructor(server: Server, to: NetConnectOpts) {
    this.#server = server;
    server.on("connection", (near) => {
      if (!this.#isOpen) {
        near.destroy();
        return;
      }
      const far = connect(to);
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(socket);
        socket.pipe(other);
        // A broken connection is what its users are to deal with.
        socket.on("error", () => {});
        socket.on("close", () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
      }
    });
  }

  static async open(from: ListenOptions, to: NetConnectOpts): Promise<Relay> {
    const server = createServer();
    const relay = new Relay(server, to);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(from, resolve);
    });
    return relay;
  }

  /** Of a relay that listens on one. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends all connections; new ones succeed. */
  cut(): void {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }

  /** From now on, whether connections last. */
  set isOpen(isOpen: boolean) {
    this.#isOpen = isOpen;
    if (!isOpen) {
      this.cut();
    }
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
