import { randomUUID } from "node:crypto";
import type { Socket } from "node:net";
import { RecordReader, RecordTooLongError, XdrError, XdrReader, type XdrWriter } from "../../xdr/index.ts";
import type { CompoundConnection, OperationTable } from "../compound/compound.ts";
import { Interpreter } from "../compound/interpreter.ts";
import {
  NFS_PROGRAM,
  NFS_VERSION,
  PROCEDURE_COMPOUND,
  PROCEDURE_NULL,
  RpcMessageType,
} from "../protocol/constants.ts";
import type { ServerContext } from "../server-context.ts";
import type { Client, Session } from "../state/records.ts";
import { ReplyQueue } from "./reply-queue.ts";

import { AcceptStatus, AuthStatus, CallerCache, writeAcceptedReply, writeDeniedReply } from "./rpc.ts";

/** Bytes of replies that the peer has not taken. Beyond it, its requests are not read either. */
const MAXIMUM_UNSENT = 4 * 1024 * 1024;
/** Requests of one connection that may wait for the file system. */
const MAXIMUM_WAITING = 256;
/** Interpreters kept for the next requests. */
const MAXIMUM_IDLE = 128;
/** With a gate: client records that one connection may make. The Linux client makes one. */
const MAXIMUM_CLIENTS = 8;

/** What the connections of a server share besides its context. */
export interface ConnectionPool {
  /** Collects the replies to one chunk of requests. */
  readonly batch: XdrWriter;
  readonly idle: Interpreter[];
  readonly operations: OperationTable;
}

/** One TCP connection of a client. */
export class Connection implements CompoundConnection {
  readonly context: ServerContext;
  readonly remotePort: number;
  /** IPv4 addresses are in dotted form, even on an IPv6 socket. */
  readonly remoteAddress: string;
  /** Distinguishes it from all others, earlier and later ones included. */
  readonly name: string = randomUUID();
  closed = false;
  /** Whether it has sent a request. */
  used = false;
  /** When bytes last came, in milliseconds of the server's clock. */
  #heardAt: number;
  /** The session that the last SEQUENCE named. */
  session: Session | undefined;

  readonly #socket: Socket;
  readonly #pool: ConnectionPool;
  readonly #records: RecordReader;
  readonly #callers = new CallerCache();
  readonly #header = new XdrReader();
  /** The sessions that this connection has carried. */
  readonly #sessions = new Set<Session>();
  /** With a gate: client records that were made here. */
  readonly #clients = new Set<Client>();
  #serving = false;
  #waiting = 0;
  #paused = false;
  readonly #replies: ReplyQueue;
  #callbackXid = 0;
  #namedClient: Client | undefined;
  #severalClients = false;
  readonly #onIdle: () => void;

  /** `onIdle` is called whenever no request is in progress any more. */
  constructor(context: ServerContext, pool: ConnectionPool, socket: Socket, onIdle: () => void) {
    this.context = context;
    this.#pool = pool;
    this.#socket = socket;
    this.#onIdle = onIdle;
    this.#heardAt = performance.now();
    this.remotePort = socket.remotePort ?? 0;
    this.remoteAddress = (socket.remoteAddress ?? "").replace(/^::ffff:(?=\d+\.)/, "");
    this.#replies = new ReplyQueue(socket, pool.batch, () => this.#adjustFlow());
    this.#records = new RecordReader(context.maximumRecord, (buffer, view, start, end) =>
      this.#message(buffer, view, start, end),
    );
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("drain", () => this.#adjustFlow());
    socket.on("close", () => this.#onClose());
    // "close" follows; a client may break its connection at any time.
    socket.on("error", () => {});
  }

  get busy(): boolean {
    return this.#waiting > 0 || this.#socket.writableLength > 0;
  }

  /** Whether nothing has come for a lease time, in which a live client would have renewed its lease. */
  get silent(): boolean {
    return performance.now() - this.#heardAt > this.context.state.leaseMilliseconds;
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Ends the connection once all that was written has been sent. */
  end(): void {
    this.#socket.end();
    this.#socket.destroySoon();
  }

  /** The session's replies and callbacks may use this connection. */
  addSession(session: Session): void {
    if (this.closed || session.destroyed) {
      return;
    }
    session.connections.add(this);
    this.#sessions.add(session);
  }

  /** With a gate, records of clients that are never admitted must not pile up. */
  get mayMakeClient(): boolean {
    return this.context.gate === undefined || this.#clients.size < MAXIMUM_CLIENTS;
  }

  addClient(client: Client): void {
    if (this.context.gate !== undefined) {
      this.#clients.add(client);
    }
  }

  /** NFSv4.0: a request on this connection was the client's. */
  nameClient(client: Client): void {
    const named = this.#namedClient;
    if (named === client) {
      return;
    }
    if (named !== undefined && this.context.state.clients.isCurrent(named)) {
      this.#severalClients = true;
    }
    this.#namedClient = client;
  }

  /** NFSv4.0: the one client that all requests on this connection come from; undefined if that cannot be told. */
  get soleClient(): Client | undefined {
    return this.#severalClients ? undefined : this.#namedClient;
  }

  /** Whether the client record was made on this connection, or one of its sessions uses it. */
  speaksFor(client: Client): boolean {
    if (this.#clients.has(client)) {
      return true;
    }
    for (const session of client.sessions) {
      if (this.#sessions.has(session)) {
        return true;
      }
    }
    return false;
  }

  /** Whether it carries a session of a client that has passed the gate. */
  get admitted(): boolean {
    for (const session of this.#sessions) {
      if (session.client.admitted) {
        return true;
      }
    }
    return false;
  }

  forgetSession(session: Session): void {
    this.#sessions.delete(session);
    if (this.session === session) {
      this.session = undefined;
    }
  }

  /** The xid of the next call to the client: one count for all sessions that share the connection. */
  nextCallbackXid(): number {
    this.#callbackXid = (this.#callbackXid + 1) >>> 0;
    return this.#callbackXid;
  }

  /** Sends COMPOUND4res bytes as the reply to `xid`. */
  sendReply(xid: number, result: Uint8Array): void {
    const header = Buffer.alloc(28);
    header.writeUInt32BE((0x8000_0000 | (24 + result.length)) >>> 0, 0);
    header.writeUInt32BE(xid, 4);
    header.writeUInt32BE(RpcMessageType.REPLY, 8);
    this.enqueue(header, result);
  }

  /** Sends whole records when the current tick's work is done. */
  enqueue(...segments: Uint8Array[]): void {
    this.#replies.enqueue(segments);
  }

  readonly #finished = (interpreter: Interpreter, detached: boolean): void => {
    if (detached) {
      this.#waiting--;
      this.#replies.take(interpreter.writer);
      this.#adjustFlow();
    }
    if (this.#pool.idle.length < MAXIMUM_IDLE) {
      this.#pool.idle.push(interpreter);
    }
    if (detached && this.#waiting === 0) {
      this.#onIdle();
    }
  };

  #receive(chunk: Buffer): void {
    if (this.closed) {
      return;
    }
    this.context.state.now = this.#heardAt = performance.now();
    this.#serve(chunk);
  }

  /** Serves the requests in the chunk, after those left over from earlier chunks. */
  #serve(chunk?: Buffer): void {
    this.#serving = true;
    this.#replies.hold();
    try {
      if (chunk === undefined) {
        this.#records.resume();
      } else {
        this.#records.push(chunk);
      }
    } catch (error) {
      if (!(error instanceof RecordTooLongError)) {
        this.context.reportFault(error, 0);
      }
      this.close();
    } finally {
      this.#serving = false;
      this.#replies.release();
      this.#adjustFlow();
    }
  }

  /** Whether too many replies wait to be sent, or requests for the file system, for more to be served. */
  get #isFull(): boolean {
    const unsent = this.#replies.unsent + this.#pool.batch.length;
    return unsent > MAXIMUM_UNSENT || this.#waiting >= MAXIMUM_WAITING;
  }

  /** Serves one message. True if nothing refers to its bytes any more. */
  #message(buffer: Buffer, view: DataView, start: number, end: number): boolean {
    const header = this.#header;
    this.used = true;
    header.reset(buffer, view, start, end);
    try {
      const xid = header.uint32();
      const type = header.uint32();
      if (type === RpcMessageType.CALL) {
        return this.#call(xid, buffer, view, start, end);
      }
      if (type === RpcMessageType.REPLY) {
        this.#callbackReply(xid);
      }
    } catch (error) {
      // Too short for an RPC header: there may be no xid to answer.
      if (!(error instanceof XdrError)) {
        throw error;
      }
    } finally {
      header.clear();
      if (this.#isFull) {
        this.#records.pause();
      }
    }
    return true;
  }

  #callbackReply(xid: number): void {
    for (const session of this.#sessions) {
      if (session.backChannel.reply(this, xid, this.#header)) {
        return;
      }
    }
  }

  #call(xid: number, buffer: Buffer, view: DataView, start: number, end: number): boolean {
    const header = this.#header;
    const { batch } = this.#pool;
    const replyAt = batch.position;
    const version = header.uint32();
    const program = header.uint32();
    const programVersion = header.uint32();
    const procedure = header.uint32();
    const caller = version === 2 ? this.#callers.read(header) : undefined;
    if (caller === undefined) {
      writeDeniedReply(batch, xid, version === 2 ? AuthStatus.BADCRED : undefined);
    } else if (program !== NFS_PROGRAM) {
      writeAcceptedReply(batch, xid, AcceptStatus.PROG_UNAVAIL);
    } else if (programVersion !== NFS_VERSION) {
      writeAcceptedReply(batch, xid, AcceptStatus.PROG_MISMATCH);
      batch.uint32(NFS_VERSION);
      batch.uint32(NFS_VERSION);
    } else if (procedure === PROCEDURE_NULL) {
      writeAcceptedReply(batch, xid, AcceptStatus.SUCCESS);
    } else if (procedure === PROCEDURE_COMPOUND) {
      const interpreter = this.#pool.idle.pop() ?? new Interpreter(this.context, this.#pool.operations);
      interpreter.connection = this;
      interpreter.xid = xid;
      interpreter.credentials = caller.credentials;
      interpreter.principal = caller.principal;
      interpreter.reader.reset(buffer, view, header.position, end);
      interpreter.requestStart = start;
      interpreter.requestLength = end - start;
      writeAcceptedReply(batch, xid, AcceptStatus.SUCCESS);
      try {
        if (interpreter.run(batch, replyAt, this.#finished)) {
          return true;
        }
        this.#waiting++;
        return false;
      } catch (error) {
        if (!(error instanceof XdrError)) {
          throw error;
        }
        // COMPOUND4args itself cannot be read.
        batch.truncate(replyAt);
        writeAcceptedReply(batch, xid, AcceptStatus.GARBAGE_ARGS);
      }
    } else {
      writeAcceptedReply(batch, xid, AcceptStatus.PROC_UNAVAIL);
    }
    batch.patch(replyAt, (0x8000_0000 | (batch.position - replyAt - 4)) >>> 0);
    return true;
  }

  #adjustFlow(): void {
    if (this.closed || this.#serving) {
      return;
    }
    const full = this.#isFull;
    if (full !== this.#paused) {
      this.#paused = full;
      if (full) {
        this.#socket.pause();
      } else {
        this.#socket.resume();
      }
    }
    if (!full && this.#records.paused) {
      this.#serve();
    }
  }

  #onClose(): void {
    this.closed = true;
    this.#replies.close();
    for (const session of this.#sessions) {
      session.connections.delete(this);
      session.backChannel.unbind(this);
    }
    this.#sessions.clear();
    this.session = undefined;
    // Nobody can return to these; admitted clients can, by their sessions.
    for (const client of this.#clients) {
      if (!client.admitted) {
        this.context.state.clients.remove(client);
      }
    }
    this.#clients.clear();
    this.#namedClient = undefined;
  }
}
