import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { XdrWriter } from "../xdr/index.ts";
import { Callbacks } from "./callback/callbacks.ts";
import { Delegations } from "./delegations/delegations.ts";
import type { FileSystem } from "./file-system.ts";
import type { Gate } from "./gate.ts";
import { DEFAULT_LIMITS, type Limits } from "./limits.ts";
import { OPERATIONS } from "./operations/index.ts";
import { MAXIMUM_IO } from "./protocol/constants.ts";
import { Operation, type OperationName } from "./protocol/operation.ts";
import type { ServerContext } from "./server-context.ts";
import { ServerState } from "./state/server-state.ts";
import { type OperationCount, type OperationDurations, OperationStatistics } from "./statistics.ts";
import { Connection, type ConnectionPool } from "./transport/connection.ts";

/** Room in the longest message for what surrounds the data of one READ or WRITE. */
const OVERHEAD = 16 * 1024;
/** Seconds. */
const MAXIMUM_LEASE = 24 * 60 * 60;
/** With a gate: connections of clients that have not passed it. Beyond it, the oldest are closed. */
const MAXIMUM_STRANGERS = 16;

/** What a {@link NfsServer} serves, to whom, and how much of it. */
export interface NfsServerOptions extends Partial<Limits> {
  fileSystem: FileSystem;
  /** Lets only one's own mount see the file system. Needs NFSv4.1. Default: everybody sees it. */
  gate?: Gate;
  /** The lease time that clients are told, in seconds, up to a day. Default 90. */
  leaseSeconds?: number;
  /**
   * Seconds for which a silent client is certain to keep its opens and locks, up to a day: `leaseSeconds`, which is
   * the default, or more, for clients whose renewals come late.
   */
  enforcedLeaseSeconds?: number;
  /** The lowest NFSv4 minor version: 0, 1 or 2. Default 0; with a gate 1. */
  minimumMinorVersion?: number;
  /** The highest NFSv4 minor version. Default 2. */
  maximumMinorVersion?: number;
  /** Refuse names (also of extended attributes) that are not UTF-8, with NFS4ERR_INVAL. Default false: bytes. */
  utf8Names?: boolean;
  /**
   * Give delegations of files that are immutable or delegable to clients that can be called back (an NFSv4.0 client
   * only at the address it connects from); recall them on conflict, and revoke them after a lease time.
   * Default false.
   */
  delegations?: boolean;
  /**
   * Called with anything but a FileSystemError that the file system throws, and the operation; the client sees
   * NFS4ERR_SERVERFAULT. Also called, without an operation, if the system could not accept a connection. Default:
   * writes to standard error.
   */
  onFault?: (error: unknown, operation: OperationName | undefined) => void;
}

/** See {@link NfsServer.listen}. */
export interface ListenOptions {
  readonly host?: string;
  readonly port?: number;
  readonly fd?: number;
}

/** Counts since the server was made. */
export interface NfsServerStatistics {
  readonly connections: number;
  readonly clients: number;
  /** Opens, locks and delegations. */
  readonly states: number;
  /** The number of calls of each operation that was called. */
  readonly operations: Readonly<Partial<Record<OperationName, number>>>;
  /** The same by minor version and status. */
  readonly operationCounts: Iterable<OperationCount>;
  readonly operationDurations: Iterable<OperationDurations>;
  /** Of files, by READ and READ_PLUS, and by WRITE. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Delegations that clients hold. */
  readonly delegations: number;
  readonly delegationsRecalled: number;
  /** Operations whose replies are held back since the file system must wait for something. */
  readonly held: number;
  /** All that were so far, and for how long together. */
  readonly heldTotal: number;
  readonly heldSeconds: number;
}

/** An NFSv4.0, 4.1 and 4.2 server (RFC 7530, 8881, 7862) over TCP for one {@link FileSystem}. */
export class NfsServer {
  readonly #context: ServerContext;
  readonly #listener: Server;
  readonly #connections = new Set<Connection>();
  readonly #pool: ConnectionPool = { batch: new XdrWriter(), idle: [], operations: OPERATIONS };
  #sweeper: NodeJS.Timeout | undefined;
  #drained: (() => void) | undefined;

  /** Throws RangeError for an option that makes no sense. */
  constructor(options: NfsServerOptions) {
    const { announced, enforced } = leasesOf(options);
    const onFault = options.onFault ?? ((error) => console.error("The file system failed:", error));
    const { fileSystem, gate } = options;
    const limits = limitsOf(options);
    const state = new ServerState(enforced, limits, (client) => {
      if (client.admitted) {
        gate?.onLost();
      }
    });
    const callbacks = new Callbacks(state.instance);
    const statistics = new OperationStatistics();
    state.onLocksGone = (file) => callbacks.notifyLocks(file);
    const { minimum, maximum } = minorVersionsOf(options);
    this.#context = {
      fileSystem,
      refresh: fileSystem.refresh && ((node) => fileSystem.refresh?.(node)),
      gate,
      state,
      callbacks,
      delegations: new Delegations(state, callbacks, statistics, options.delegations ?? false),
      minimumMinorVersion: minimum,
      maximumMinorVersion: maximum,
      limits,
      utf8Names: options.utf8Names ?? false,
      maximumRecord: MAXIMUM_IO + OVERHEAD,
      leaseSeconds: announced,
      statistics,
      reportFault: (error, operation) => onFault(error, operationName(operation)),
    };
    // Notices peers that have gone without a word.
    this.#listener = createServer(
      { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 },
      (socket) => this.#accept(socket),
    );
    // A connection that the system cannot accept must not end the process; listen() reports its own errors.
    this.#listener.on("error", (error) => {
      if (this.#listener.listening) {
        onFault(error, undefined);
      }
    });
  }

  /**
   * Resolves to the port once connections are taken. `port` 0 (the default) takes any that is free. Instead of an
   * address, `fd` can name a bound TCP socket, such as one of another network namespace; the server closes it.
   */
  async listen({ host = "127.0.0.1", port = 0, fd }: ListenOptions = {}): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#listener.once("error", reject);
      this.#listener.listen(fd === undefined ? { host, port } : { fd }, () => {
        this.#listener.off("error", reject);
        resolve();
      });
    });
    const { state } = this.#context;
    this.#sweeper = setInterval(() => {
      state.now = performance.now();
      state.sweep();
    }, state.leaseMilliseconds / 2);
    this.#sweeper.unref();
    return (this.#listener.address() as AddressInfo).port;
  }

  /**
   * Accepts no more connections, answers the requests under way (for at most `graceMilliseconds`, default
   * 2000) and closes. Unmount first: a client that still has the mount waits for the server to come back.
   */
  async close(options: { graceMilliseconds?: number } = {}): Promise<void> {
    clearInterval(this.#sweeper);
    const closed = new Promise<void>((resolve) => this.#listener.close(() => resolve()));
    if (this.#isBusy) {
      const timeout = Promise.withResolvers<void>();
      const timer = setTimeout(timeout.resolve, options.graceMilliseconds ?? 2000);
      const drained = new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
      await Promise.race([drained, timeout.promise]);
      clearTimeout(timer);
    }
    for (const connection of this.#connections) {
      connection.close();
    }
    await closed;
    // So that the file system can release files without names.
    this.#context.state.clients.clear();
  }

  /** Counts since the server was made. */
  statistics(): NfsServerStatistics {
    const { statistics, state } = this.#context;
    const { bytesRead, bytesWritten, delegationsRecalled, held, heldTotal, heldSeconds } = statistics;
    return {
      connections: this.#connections.size,
      clients: state.clients.count,
      states: state.states.size,
      operations: statistics.calls(),
      operationCounts: statistics.counts(),
      operationDurations: statistics.durations(),
      bytesRead,
      bytesWritten,
      delegations: state.delegations,
      delegationsRecalled,
      held,
      heldTotal,
      heldSeconds,
    };
  }

  /** @internal What the server's parts share, for tests that look inside. */
  static contextOf(server: NfsServer): ServerContext {
    return server.#context;
  }

  get #isBusy(): boolean {
    for (const connection of this.#connections) {
      if (connection.busy) {
        return true;
      }
    }
    return false;
  }

  #accept(socket: Socket): void {
    const { gate } = this.#context;
    const taken = gate === undefined || gate.takesPort(socket.remotePort ?? 0);
    if (gate !== undefined && taken) {
      this.#closeSurplusStrangers();
    }
    if (!taken || !this.#hasRoom()) {
      socket.destroy();
      return;
    }
    const connection = new Connection(this.#context, this.#pool, socket, () => {
      if (this.#drained !== undefined && !this.#isBusy) {
        this.#drained();
      }
    });
    this.#connections.add(connection);
    socket.on("close", () => this.#connections.delete(connection));
  }

  /** Whether there is room for another connection, if need be after closing an unused one. */
  #hasRoom(): boolean {
    if (this.#connections.size < this.#context.limits.maximumConnections) {
      return true;
    }
    const connections = [...this.#connections];
    const unused =
      connections.find((connection) => !connection.used) ??
      connections.find((connection) => connection.silent);
    if (unused === undefined) {
      return false;
    }
    unused.close();
    this.#connections.delete(unused);
    return true;
  }

  /** Keeps room for our own mount to reconnect. */
  #closeSurplusStrangers(): void {
    const strangers = [...this.#connections].filter((connection) => !connection.admitted);
    for (const stranger of strangers.slice(0, Math.max(0, strangers.length - MAXIMUM_STRANGERS + 1))) {
      stranger.close();
      this.#connections.delete(stranger);
    }
  }
}

function limitsOf(options: Partial<Limits>): Limits {
  const limits = { ...DEFAULT_LIMITS };
  for (const name of Object.keys(limits) as (keyof Limits)[]) {
    const value = options[name] ?? limits[name];
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new RangeError(`${name} is ${value}; expected an integer of at least 1`);
    }
    limits[name] = value;
  }
  return limits;
}

function leasesOf({
  leaseSeconds: announced = 90,
  enforcedLeaseSeconds: enforced = announced,
}: NfsServerOptions): { announced: number; enforced: number } {
  if (!(announced > 0 && announced <= MAXIMUM_LEASE)) {
    throw new RangeError(`leaseSeconds is ${announced}; expected more than 0 and at most ${MAXIMUM_LEASE}`);
  }
  if (!(enforced >= announced && enforced <= MAXIMUM_LEASE)) {
    throw new RangeError(
      `enforcedLeaseSeconds is ${enforced}; expected at least leaseSeconds and at most ${MAXIMUM_LEASE}`,
    );
  }
  return { announced, enforced };
}

function minorVersionsOf(options: NfsServerOptions): { minimum: number; maximum: number } {
  const { minimumMinorVersion = 0, maximumMinorVersion: maximum = 2, gate } = options;
  const minimum = gate === undefined ? minimumMinorVersion : Math.max(1, minimumMinorVersion);
  if ([0, 1, 2].includes(minimum) && [0, 1, 2].includes(maximum) && minimum <= maximum) {
    return { minimum, maximum };
  }
  throw new RangeError(
    `minor versions are ${minimum} to ${maximum}; expected 0, 1 or 2, and with a gate not 0 alone`,
  );
}

function operationName(operation: number): OperationName | undefined {
  return (Object.keys(Operation) as OperationName[]).find((name) => Operation[name] === operation);
}
