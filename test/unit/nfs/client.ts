import { EventEmitter, once } from "node:events";
import { connect, type Socket } from "node:net";
import { Attribute } from "../../../src/nfs/protocol/attribute.ts";
import { Operation, type OperationName } from "../../../src/nfs/protocol/operation.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { RecordReader, XdrReader, XdrWriter } from "../../../src/xdr/index.ts";

/** An operation of a request: its name and what follows its number. */
export type Step = readonly [OperationName, ((writer: XdrWriter) => void)?];

/** COMPOUND4res: the reader stands before the first result. */
export interface Reply {
  readonly status: number;
  readonly count: number;
  readonly reader: XdrReader;
  /** From the status on. */
  readonly bytes: Buffer;
}

/** An RPC connection that sends what it is told to, right or wrong. */
export class TestConnection {
  readonly socket: Socket;
  /** Emits "call" with each call of the server's, from the xid on. */
  readonly callbacks = new EventEmitter<{ call: [Buffer] }>();
  readonly #waiting = new Map<number, PromiseWithResolvers<Buffer>>();
  #nextXid = 1;

  private constructor(socket: Socket) {
    this.socket = socket;
    const records = new RecordReader(1 << 22, (buffer, _view, start, end) => {
      const record = Buffer.from(buffer.subarray(start, end));
      const xid = record.readUInt32BE(0);
      if (record.readUInt32BE(4) === 0) {
        this.callbacks.emit("call", record);
        return true;
      }
      this.#waiting.get(xid)?.resolve(record);
      this.#waiting.delete(xid);
      return true;
    });
    socket.on("data", (chunk: Buffer) => records.push(chunk));
    socket.on("error", () => {});
    socket.on("close", () => {
      for (const { reject } of this.#waiting.values()) {
        reject(new Error("the connection was closed"));
      }
      this.#waiting.clear();
    });
  }

  static async open(port: number): Promise<TestConnection> {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    await once(socket, "connect");
    return new TestConnection(socket);
  }

  close(): void {
    this.socket.destroy();
  }

  send(xid: number, message: Buffer): void {
    const header = Buffer.alloc(8);
    header.writeUInt32BE((0x8000_0000 | (message.length + 4)) >>> 0);
    header.writeUInt32BE(xid, 4);
    this.socket.write(Buffer.concat([header, message]));
  }

  /** The whole reply message to an RPC message without its xid. Rejects when the connection ends first. */
  async exchange(message: Buffer, xid: number = this.#nextXid++): Promise<Buffer> {
    const waiting = Promise.withResolvers<Buffer>();
    this.#waiting.set(xid, waiting);
    this.send(xid, message);
    return waiting.promise;
  }

  async compound(steps: readonly Step[], options: CompoundOptions = {}): Promise<Reply> {
    const message = await this.exchange(encodeCompound(steps, options), options.xid ?? this.#nextXid++);
    return parseReply(message);
  }
}

export interface CompoundOptions {
  minorVersion?: number;
  userId?: number;
  groupId?: number;
  xid?: number;
}

/** An RPC call message without its xid. */
export function encodeCompound(steps: readonly Step[], options: CompoundOptions = {}): Buffer {
  const writer = new XdrWriter(1024);
  for (const word of [0, 2, 100003, 4, 1, 1, 24, 0]) {
    writer.uint32(word);
  }
  writer.latin1("test");
  writer.uint32(options.userId ?? 0);
  writer.uint32(options.groupId ?? 0);
  writer.uint32(0);
  for (const word of [0, 0, 0, options.minorVersion ?? 1, steps.length]) {
    writer.uint32(word);
  }
  for (const [name, write] of steps) {
    writer.uint32(Operation[name]);
    write?.(writer);
  }
  return Buffer.from(writer.buffer.subarray(0, writer.position));
}

export function parseReply(message: Buffer): Reply {
  const header = readerOf(message);
  const words = Array.from({ length: 6 }, () => header.uint32());
  if (words.slice(1).join() !== "1,0,0,0,0") {
    throw new Error(`not an accepted reply: ${words.join()}`);
  }
  const bytes = message.subarray(24);
  const body = readerOf(bytes);
  const status = body.uint32();
  body.opaque(4096);
  return { status, count: body.uint32(), reader: body, bytes };
}

export function readerOf(bytes: Buffer): XdrReader {
  const reader = new XdrReader();
  reader.reset(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length);
  return reader;
}

/** Steps over a result's number and status; throws unless the status is `expected`. */
export function expectResult(reader: XdrReader, name: OperationName, expected: number = Status.OK): void {
  const operation = reader.uint32();
  const status = reader.uint32();
  if (operation !== Operation[name] || status !== expected) {
    throw new Error(`expected ${name} with status ${expected}, got operation ${operation} with ${status}`);
  }
}

/** A client with one session. */
export class TestSession {
  readonly connection: TestConnection;
  readonly id: Buffer;
  readonly clientid: Buffer;
  readonly #sequenceids: number[] = [];

  private constructor(connection: TestConnection, clientid: Buffer, id: Buffer) {
    this.connection = connection;
    this.clientid = clientid;
    this.id = id;
  }

  static async create(
    connection: TestConnection,
    owner = `owner ${Math.random()}`,
    verifier = 1,
    backChannel = false,
  ): Promise<TestSession> {
    const exchanged = await connection.compound([["EXCHANGE_ID", exchangeIdArguments(owner, verifier)]]);
    expectResult(exchanged.reader, "EXCHANGE_ID");
    const clientid = Buffer.from(exchanged.reader.fixed(8));
    const sequence = exchanged.reader.uint32();
    const created = await connection.compound([
      ["CREATE_SESSION", createSessionArguments(clientid, sequence, backChannel)],
    ]);
    expectResult(created.reader, "CREATE_SESSION");
    const session = new TestSession(connection, clientid, Buffer.from(created.reader.fixed(16)));
    await session.call([["RECLAIM_COMPLETE", (writer) => writer.bool(false)]]);
    return session;
  }

  /** The SEQUENCE step with the next sequenceid of the slot. */
  sequence(slot = 0, cache = false): Step {
    const sequenceid = (this.#sequenceids[slot] ?? 0) + 1;
    this.#sequenceids[slot] = sequenceid;
    return this.sequenceOf(sequenceid, slot, cache);
  }

  sequenceOf(sequenceid: number, slot = 0, cache = false): Step {
    return [
      "SEQUENCE",
      (writer) => {
        writer.fixed(this.id);
        writer.uint32(sequenceid);
        writer.uint32(slot);
        writer.uint32(63);
        writer.bool(cache);
      },
    ];
  }

  /** SEQUENCE and the steps; the reply's reader stands behind SEQUENCE's result. */
  async call(
    steps: readonly Step[],
    options: CompoundOptions & { slot?: number; cache?: boolean; on?: TestConnection } = {},
  ): Promise<Reply> {
    const connection = options.on ?? this.connection;
    const reply = await connection.compound(
      [this.sequence(options.slot ?? 0, options.cache ?? false), ...steps],
      options,
    );
    if (reply.count > 0 && reply.reader.buffer.readUInt32BE(reply.reader.position + 4) === 0) {
      expectResult(reply.reader, "SEQUENCE");
      reply.reader.skip(36);
    }
    return reply;
  }
}

export function exchangeIdArguments(owner: string, verifier: number) {
  return (writer: XdrWriter) => {
    writer.uint64(verifier);
    writer.latin1(owner);
    writer.uint32(0);
    writer.uint32(0);
    writer.uint32(0);
  };
}

export function createSessionArguments(clientid: Buffer, sequence: number, backChannel = false) {
  return (writer: XdrWriter) => {
    writer.fixed(clientid);
    writer.uint32(sequence);
    writer.uint32(backChannel ? 2 : 0);
    for (let channel = 0; channel < 2; channel++) {
      for (const word of [0, 1 << 20, 1 << 20, 4096, 16, 64, 0]) {
        writer.uint32(word);
      }
    }
    writer.uint32(0x4000_0000);
    writer.uint32(0);
  };
}

export const name = (value: string) => (writer: XdrWriter) => writer.latin1(value);
export const handle = (value: Uint8Array) => (writer: XdrWriter) => writer.opaque(value);

export interface OpenOptions {
  owner?: string;
  access?: number;
  deny?: number;
  create?: "unchecked" | "guarded" | "exclusive";
  verifier?: number;
  /** For a file that is created, or else truncated, unless exclusively. */
  size?: number;
}

export function openArguments(clientid: Buffer, file: string, options: OpenOptions = {}) {
  return (writer: XdrWriter) => {
    writer.uint32(0);
    writer.uint32(options.access ?? 3);
    writer.uint32(options.deny ?? 0);
    writer.fixed(clientid);
    writer.latin1(options.owner ?? "open owner");
    writer.uint32(options.create === undefined ? 0 : 1);
    if (options.create === "exclusive") {
      writer.uint32(2);
      writer.uint64(options.verifier ?? 1);
    } else if (options.create !== undefined) {
      writer.uint32(options.create === "guarded" ? 1 : 0);
      writeSize(writer, options.size);
    }
    writer.uint32(0);
    writer.latin1(file);
  };
}

/** A fattr4 of the size, or of nothing. */
function writeSize(writer: XdrWriter, size: number | undefined): void {
  if (size === undefined) {
    writer.uint32(0);
    writer.uint32(0);
    return;
  }
  writer.uint32(1);
  writer.uint32(1 << Attribute.SIZE);
  writer.uint32(8);
  writer.uint64(size);
}

/** OPEN of a file in the root, with what comes of it. */
export async function openFile(
  session: TestSession,
  file: string,
  options: OpenOptions = {},
): Promise<{ status: number; stateid: Buffer; handle: Buffer }> {
  const reply = await session.call([
    ["PUTROOTFH"],
    ["OPEN", openArguments(session.clientid, file, options)],
    ["GETFH"],
  ]);
  if (reply.status !== Status.OK) {
    return { status: reply.status, stateid: Buffer.alloc(0), handle: Buffer.alloc(0) };
  }
  const { reader } = reply;
  expectResult(reader, "PUTROOTFH");
  expectResult(reader, "OPEN");
  const stateid = Buffer.from(reader.fixed(16));
  reader.skip(20 + 4);
  reader.skip(4 * reader.length(3));
  // OPEN_DELEGATE_NONE_EXT says why there is none, and for two of the reasons something more.
  if (reader.uint32() === 3) {
    const why = reader.uint32();
    if (why === 1 || why === 2) {
      reader.bool();
    }
  }
  expectResult(reader, "GETFH");
  return { status: Status.OK, stateid, handle: Buffer.from(reader.opaque(128)) };
}
