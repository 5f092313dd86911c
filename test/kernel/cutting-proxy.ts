import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { Operation, type OperationName } from "../../src/nfs/protocol/operation.ts";
import { RecordReader, XdrReader } from "../../src/xdr/index.ts";
import type { Detour } from "./mounted-file-systems.ts";
import { Random } from "./random.ts";

/** Where in an operation's way there and back its connection breaks. */
export const PLACES = ["before the request", "in the request", "before the reply", "in the reply"] as const;
export type Place = (typeof PLACES)[number];

const MAXIMUM_RECORD = 2 ** 21;
const LAST_FRAGMENT = 0x8000_0000;
const CALL = 0;
/** A connection carries at least one request, and at most so many, before it may be cut again. */
const MOST_REQUESTS_BETWEEN_CUTS = 8;

const names = new Map<number, OperationName>(
  Object.entries(Operation).map(([name, number]) => [number, name as OperationName] as const),
);

/**
 * Passes an NFS client's connections on to its server and cuts them: each operation once at each place, at a random
 * byte, after a random number of requests, orderly or by a reset. Nothing is cut before {@link startCutting}.
 */
export class CuttingProxy implements Detour {
  readonly seed: number;
  readonly #serverPort: number;
  readonly #listener: Server;
  readonly #connections = new Set<CutConnection>();
  readonly #cuts = new Map<OperationName, Set<Place>>();
  #wanted: readonly OperationName[] | undefined;
  #done: (() => void) | undefined;
  readonly random: Random;

  private constructor(serverPort: number, seed: number) {
    this.seed = seed;
    this.random = new Random(seed);
    this.#serverPort = serverPort;
    this.#listener = createServer({ noDelay: true }, (client) => {
      const server = connect({ port: this.#serverPort, host: "127.0.0.1", noDelay: true });
      const connection = new CutConnection(this, client, server);
      this.#connections.add(connection);
      connection.whenOver(() => this.#connections.delete(connection));
    });
  }

  /** The same seed makes the same choices, as far as the requests come in the same order. */
  static async open(serverPort: number, seed: number): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(serverPort, seed);
    await new Promise<void>((resolve) => proxy.#listener.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port(): number {
    return (this.#listener.address() as AddressInfo).port;
  }

  /** From now on; calls `done` and stops once each of these operations was cut at each place. */
  startCutting(wanted: readonly OperationName[], done: () => void): void {
    this.#wanted = wanted;
    this.#done = done;
  }

  /** What was not cut yet of what is wanted. */
  missing(): string[] {
    return (this.#wanted ?? []).flatMap((operation) =>
      PLACES.filter((place) => !this.#cuts.get(operation)?.has(place)).map(
        (place) => `${operation} ${place}`,
      ),
    );
  }

  /** Where to cut at this request, if it is to be. */
  choose(operation: OperationName): Place | undefined {
    if (this.#done === undefined) {
      return undefined;
    }
    const places = PLACES.filter((place) => !this.#cuts.get(operation)?.has(place));
    return places[this.random.below(places.length)];
  }

  noteCut(operation: OperationName, place: Place): void {
    const places = this.#cuts.get(operation) ?? new Set();
    this.#cuts.set(operation, places.add(place));
    if (this.missing().length > 0) {
      return;
    }
    this.#done?.();
    this.#done = undefined;
  }

  /** How often connections were cut. */
  get cutCount(): number {
    return [...this.#cuts.values()].reduce((sum, places) => sum + places.size, 0);
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) {
      connection.destroy();
    }
    await new Promise((resolve) => this.#listener.close(resolve));
  }
}

/** One connection of the client, and the proxy's own to the server. */
class CutConnection {
  readonly #proxy: CuttingProxy;
  readonly #client: Socket;
  readonly #server: Socket;
  /** Requests whose replies are to be cut. */
  readonly #marked = new Map<number, { operation: OperationName; place: Place }>();
  #requestsLeft: number;
  #isCut = false;

  constructor(proxy: CuttingProxy, client: Socket, server: Socket) {
    this.#proxy = proxy;
    this.#client = client;
    this.#server = server;
    this.#requestsLeft = 1 + proxy.random.below(MOST_REQUESTS_BETWEEN_CUTS);
    for (const socket of [client, server]) {
      // What breaks a connection is the other side's to deal with.
      socket.on("error", () => {});
      socket.on("close", () => this.destroy());
    }
    this.#readRecords(client, (record) => this.#takeRequest(record));
    this.#readRecords(server, (record) => this.#takeReply(record));
  }

  whenOver(listener: () => void): void {
    this.#client.on("close", listener);
  }

  destroy(): void {
    this.#client.destroy();
    this.#server.destroy();
  }

  #readRecords(socket: Socket, take: (record: Buffer) => void): void {
    const reader = new RecordReader(MAXIMUM_RECORD, (buffer, _view, start, end) => {
      const framed = Buffer.allocUnsafe(4 + end - start);
      framed.writeUInt32BE(LAST_FRAGMENT + end - start);
      buffer.copy(framed, 4, start, end);
      if (!this.#isCut) {
        take(framed);
      }
      return true;
    });
    socket.on("data", (chunk: Buffer) => reader.push(chunk));
  }

  #takeRequest(record: Buffer): void {
    const operation = operationOf(record);
    const place = operation && --this.#requestsLeft < 0 ? this.#proxy.choose(operation) : undefined;
    if (operation === undefined || place === undefined) {
      this.#server.write(record);
    } else if (place === "before the request" || place === "in the request") {
      this.#cut(operation, place, this.#server, record);
    } else {
      this.#marked.set(record.readUInt32BE(4), { operation, place });
      this.#requestsLeft = Number.POSITIVE_INFINITY;
      this.#server.write(record);
    }
  }

  #takeReply(record: Buffer): void {
    const marked = record.readUInt32BE(8) === CALL ? undefined : this.#marked.get(record.readUInt32BE(4));
    if (marked === undefined) {
      this.#client.write(record);
    } else {
      this.#cut(marked.operation, marked.place, this.#client, record);
    }
  }

  /** Lets a part of the record through, if the place says so, then closes both sides. */
  #cut(operation: OperationName, place: Place, receiver: Socket, record: Buffer): void {
    this.#isCut = true;
    const bytes = place.startsWith("in ") ? 1 + this.#proxy.random.below(record.length - 1) : 0;
    const orderly = this.#proxy.random.below(2) === 0;
    receiver.write(record.subarray(0, bytes), () => {
      for (const socket of [this.#client, this.#server]) {
        if (orderly) {
          socket.destroy();
        } else {
          socket.resetAndDestroy();
        }
      }
    });
    this.#proxy.noteCut(operation, place);
  }
}

/** What the request, with its record mark, is about: of its operations the one that is not there to help another. */
function operationOf(record: Buffer): OperationName | undefined {
  const reader = new XdrReader();
  const view = new DataView(record.buffer, record.byteOffset, record.length);
  reader.reset(record, view, 8, record.length);
  if (reader.uint32() !== CALL) {
    return undefined;
  }
  for (let skipped = 0; skipped < 3; skipped++) {
    reader.uint32();
  }
  if (reader.uint32() === 0) {
    return undefined;
  }
  for (let skipped = 0; skipped < 2; skipped++) {
    reader.uint32();
    reader.opaque(400);
  }
  reader.opaque(1024);
  reader.uint32();
  let about: number | undefined;
  for (let operations = reader.uint32(); operations > 0; operations--) {
    const operation = reader.uint32();
    if (operation === Operation.SEQUENCE) {
      reader.fixed(32);
    } else if (operation === Operation.PUTFH) {
      reader.opaque(128);
    } else if (operation === Operation.GETATTR) {
      for (let words = reader.uint32(); words > 0; words--) {
        reader.uint32();
      }
      about ??= operation;
    } else if (operation !== Operation.SAVEFH && operation !== Operation.PUTROOTFH) {
      about = operation;
      break;
    }
  }
  return about === undefined ? undefined : names.get(about);
}
