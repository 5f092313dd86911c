import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { NetworkNamespace, type NfsMount } from "../../src/mount/index.ts";
import { run, type ServedFileSystem } from "./mounted-file-systems.ts";

/** The owner of a client, as it is told to the server, is made of this name and the host's. */
const IDENTIFIER = "/sys/fs/nfs/net/nfs_client/identifier";

/** Its directories are asked for anew whenever they are used, since somebody else changes them. */
const MOUNT_OPTIONS = ["cto", "acregmin=0,acregmax=0,acdirmin=0,acdirmax=0"];

/**
 * An NFS client of this kernel beside its others, with a mount: the kernel has one for each network namespace. A gate
 * must be open to unreserved ports.
 */
export class SeparateClient implements AsyncDisposable {
  readonly identifier: string;
  readonly #namespace: NetworkNamespace;
  readonly #relay: Relay;
  readonly #mount: NfsMount;
  #ended = false;

  private constructor(identifier: string, namespace: NetworkNamespace, relay: Relay, mount: NfsMount) {
    this.identifier = identifier;
    this.#namespace = namespace;
    this.#relay = relay;
    this.#mount = mount;
  }

  /** Two of the same identifier are, to the server, one that has restarted. */
  static async mount(
    served: ServedFileSystem,
    mountName: string,
    identifier = mountName,
  ): Promise<SeparateClient> {
    await using stack = new AsyncDisposableStack();
    const network = stack.use(NetworkNamespace.create());
    const script = `mount -t sysfs none /sys && echo "$0" > ${IDENTIFIER}`;
    const { status, errors } = await network.within(() =>
      run("unshare", ["--mount", "sh", "-c", script, identifier]),
    );
    if (status !== 0) {
      throw new Error(`cannot name a client: ${errors}`);
    }
    const relay = stack.use(await Relay.open(network.openTcpSocket(), served.port));
    const mount = await served.mount(mountName, { network, port: relay.port, mountOptions: MOUNT_OPTIONS });
    stack.move();
    return new SeparateClient(identifier, network, relay, mount);
  }

  /** Where its mount has what is at this path from the root. */
  path(path: string): string {
    return join(this.#mount.path, path);
  }

  /** From now on the server hears nothing of it, nor it of the server. */
  silence(): void {
    this.#relay.silence();
  }

  /** Has it connect again. */
  resume(): void {
    this.#relay.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) {
      return;
    }
    this.#ended = true;
    await this.#mount.unmount(this.#relay.silent ? 0 : undefined);
    this.#namespace.close();
    await this.#relay[Symbol.asyncDispose]();
  }
}

/** Passes connections on. */
class Relay implements AsyncDisposable {
  readonly #listener: Server;
  readonly #sockets = new Set<Socket>();
  #silent = false;

  private constructor(serverPort: number) {
    this.#listener = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
      const server = connect({ port: serverPort, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
      this.#join(client, server);
      this.#join(server, client);
    });
  }

  /** `fd`: a bound socket of the namespace from which the connections come. */
  static async open(fd: number, serverPort: number): Promise<Relay> {
    const relay = new Relay(serverPort);
    relay.#listener.listen({ fd });
    await once(relay.#listener, "listening");
    return relay;
  }

  get port(): number {
    return (this.#listener.address() as AddressInfo).port;
  }

  get silent(): boolean {
    return this.#silent;
  }

  silence(): void {
    this.#silent = true;
    for (const socket of this.#sockets) {
      socket.unpipe();
      socket.pause();
    }
  }

  /** What was said meanwhile is lost with the connections. */
  resume(): void {
    this.#silent = false;
    this.#disconnect();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#listener, "close");
    this.#listener.close();
    this.#disconnect();
    await closed;
  }

  #disconnect(): void {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on("close", () => {
      this.#sockets.delete(from);
      to.destroy();
    });
    // What breaks a connection is the other side's to deal with.
    from.on("error", () => {});
    if (!this.#silent) {
      from.pipe(to);
    }
  }
}
