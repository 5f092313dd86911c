import { connect, type Socket } from "node:net";
import { RecordReader, XdrError, XdrReader, XdrWriter } from "../../xdr/index.ts";
import { AuthFlavor, RpcMessageType } from "../protocol/constants.ts";
import {
  beginCall,
  beginCompound,
  type CallbackCall,
  type CallbackPath,
  CB_COMPOUND,
  CB_NULL,
  finishCall,
  readAccepted,
  readCompound,
} from "./call.ts";

/** A client that owes an answer and stays silent this long loses the connection. */
const SILENCE_MILLISECONDS = 5000;
const MAXIMUM_PENDING = 64;
const MAXIMUM_RECORD = 16 * 1024;
/** AUTH_SYS with user and group 0 and no name: the Linux client takes nothing less for CB_COMPOUND. */
const CREDENTIAL = credential([0, 0, 0, 0, 0]);

function credential(body: readonly number[]): Buffer {
  const bytes = Buffer.alloc(8 + 4 * body.length);
  [AuthFlavor.SYS, 4 * body.length, ...body].forEach((word, index) => {
    bytes.writeUInt32BE(word, 4 * index);
  });
  return bytes;
}

/** CB_NULL asks only whether anybody answers. */
type Pending = CallbackCall | "probe";

/**
 * The callback program of an NFSv4.0 client (RFC 7530 §10.2.1): the server connects to the client. It is up once
 * CB_NULL has been answered, and down after a connection attempt that failed.
 */
export class CallbackProgram implements CallbackPath {
  isUp = false;
  readonly #host: string;
  readonly #port: number;
  readonly #program: number;
  readonly #ident: number;
  readonly #onClose: () => void;
  readonly #pending = new Map<number, Pending>();
  readonly #header = new XdrReader();
  #socket: Socket | undefined;
  #silence: NodeJS.Timeout | undefined;
  #nextXid = 1;
  /** A connection has been lost since the last answer. */
  #lost = false;
  #closed = false;

  /** `program` and `ident` come from SETCLIENTID. `onClose` is called once it is closed for good. */
  constructor(host: string, port: number, program: number, ident: number, onClose: () => void) {
    this.#host = host;
    this.#port = port;
    this.#program = program;
    this.#ident = ident;
    this.#onClose = onClose;
  }

  /** Finds out whether the client answers, unless a probe is already under way. */
  probe(): void {
    if (this.#closed) {
      return;
    }
    for (const call of this.#pending.values()) {
      if (call === "probe") {
        return;
      }
    }
    this.#start("probe");
  }

  send(call: CallbackCall): void {
    if (this.#closed || this.#pending.size >= MAXIMUM_PENDING) {
      call.failed();
    } else {
      this.#start(call);
    }
  }

  close(): void {
    if (this.#closed) {
      return;
    }
    this.#closed = true;
    this.#socket?.destroy();
    this.#fail();
    this.#onClose();
  }

  #start(call: Pending): void {
    const xid = this.#nextXid;
    this.#nextXid = (xid + 1) >>> 0;
    this.#pending.set(xid, call);
    this.#socket ??= this.#connect();
    this.#socket.write(this.#encode(xid, call));
    this.#watch();
  }

  #connect(): Socket {
    const socket = connect({ host: this.#host, port: this.#port, noDelay: true });
    const records = new RecordReader(MAXIMUM_RECORD, (buffer, view, start, end) => {
      this.#header.reset(buffer, view, start, end);
      this.#message(socket);
      this.#header.clear();
      return true;
    });
    socket.on("data", (chunk: Buffer) => {
      try {
        records.push(chunk);
      } catch {
        // The record is too long: nothing after it can be understood.
        socket.destroy();
      }
    });
    // "close" follows.
    socket.on("error", () => {});
    socket.on("close", () => this.#onSocketClose(socket));
    // A callback must not keep the process alive.
    socket.unref();
    return socket;
  }

  #message(socket: Socket): void {
    const header = this.#header;
    try {
      const xid = header.uint32();
      const call = this.#pending.get(xid);
      if (header.uint32() !== RpcMessageType.REPLY || call === undefined) {
        return;
      }
      this.#pending.delete(xid);
      this.#lost = false;
      this.#watch();
      this.#answer(call, header);
    } catch (error) {
      if (!(error instanceof XdrError)) {
        throw error;
      }
      socket.destroy();
    }
  }

  #answer(call: Pending, reader: XdrReader): void {
    if (call === "probe") {
      this.isUp = readAccepted(reader);
      return;
    }
    try {
      if (!readAccepted(reader) || readCompound(reader) < 1 || reader.uint32() !== call.operation) {
        call.failed();
      } else {
        call.answered(reader.uint32(), reader);
      }
    } catch (error) {
      call.failed();
      throw error;
    }
  }

  /** Unanswered calls go out once more, on a new connection. */
  #onSocketClose(socket: Socket): void {
    if (this.#socket !== socket) {
      return;
    }
    this.#socket = undefined;
    if (this.#closed || this.#pending.size === 0) {
      return;
    }
    if (this.#lost) {
      this.#fail();
      return;
    }
    this.#lost = true;
    const again = this.#connect();
    this.#socket = again;
    for (const [xid, call] of this.#pending) {
      again.write(this.#encode(xid, call));
    }
    this.#watch();
  }

  #fail(): void {
    this.isUp = false;
    this.#lost = false;
    const calls = [...this.#pending.values()];
    this.#pending.clear();
    this.#watch();
    for (const call of calls) {
      if (call !== "probe") {
        call.failed();
      }
    }
  }

  /** Runs while the client owes an answer, and restarts with each one that comes. */
  #watch(): void {
    clearTimeout(this.#silence);
    if (this.#pending.size === 0) {
      return;
    }
    this.#silence = setTimeout(() => this.#socket?.destroy(), SILENCE_MILLISECONDS);
    this.#silence.unref();
  }

  #encode(xid: number, call: Pending): Uint8Array {
    const writer = new XdrWriter(512);
    beginCall(writer, xid, this.#program, call === "probe" ? CB_NULL : CB_COMPOUND, CREDENTIAL);
    if (call !== "probe") {
      beginCompound(writer, 0, this.#ident, 1);
      writer.uint32(call.operation);
      call.encode(writer);
    }
    return finishCall(writer);
  }
}
