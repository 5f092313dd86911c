import { XdrError, type XdrReader, XdrWriter } from "../../xdr/index.ts";
import { Status } from "../protocol/status.ts";
import {
  beginCall,
  beginCompound,
  type CallbackCall,
  CallbackOperation,
  type CallbackPath,
  CB_COMPOUND,
  finishCall,
  readAccepted,
  readCompound,
} from "./call.ts";

/** Calls that may wait for a slot when the client does not answer. Any further call fails, and may be tried again. */
const MAXIMUM_QUEUED = 256;

/** Limits of one direction of a session (channel_attrs4, RFC 8881 §18.36). Sizes in bytes. */
export interface ChannelAttributes {
  readonly maxRequestSize: number;
  readonly maxResponseSize: number;
  readonly maxResponseSizeCached: number;
  readonly maxOperations: number;
  readonly maxRequests: number;
}

/** What the channel needs of the connections that a client offers for calls. */
export interface CallbackConnection {
  /** The xid of the next call to the client: one count for all sessions that share the connection. */
  nextCallbackXid(): number;
  /** Sends whole records when the current tick's work is done. */
  enqueue(...records: Uint8Array[]): void;
}

/** One place for a call, with the sequenceid that the client expects next (RFC 8881 §2.10.6). */
interface Slot {
  sequenceid: number;
  /** The call under way. It keeps the slot until it is answered: only then do we know the client's sequenceid. */
  call: CallbackCall | undefined;
  /** The connection that carries the call; undefined when the call must be sent again. */
  connection: CallbackConnection | undefined;
  xid: number;
}

/** The back channel of a session (RFC 8881 §2.10.3.1): carries the server's calls over the client's connections. */
export class BackChannel implements CallbackPath {
  /** The client's callback program number, from CREATE_SESSION or BACKCHANNEL_CTL. */
  program: number;
  /** The opaque_auth that calls carry. */
  credential: Buffer;
  readonly attributes: ChannelAttributes;
  /** A slot's sequenceid is out of step: only a new session helps. SEQUENCE tells the client so. */
  fault = false;
  readonly #sessionId: Buffer;
  readonly #minorVersion: number;
  readonly #connections = new Set<CallbackConnection>();
  readonly #slots: Slot[] = [];
  /** Slots that the client currently lets us use. */
  #usable: number;
  #queue: CallbackCall[] = [];
  #offered = false;
  #closed = false;

  constructor(
    sessionId: Buffer,
    minorVersion: number,
    attributes: ChannelAttributes,
    program: number,
    credential: Buffer,
  ) {
    this.#sessionId = sessionId;
    this.#minorVersion = minorVersion;
    this.attributes = attributes;
    this.#usable = attributes.maxRequests;
    this.program = program;
    this.credential = credential;
  }

  get isUp(): boolean {
    return this.#connections.size > 0 && !this.fault && this.attributes.maxOperations >= 2;
  }

  /** All the connections that the client offered have ended: it must offer another. */
  get isLost(): boolean {
    return this.#offered && this.#connections.size === 0;
  }

  /** The client offers the connection for calls. */
  bind(connection: CallbackConnection): void {
    this.#offered = true;
    this.#connections.add(connection);
    this.#sendNext();
  }

  /** The connection has ended: its unanswered calls go out again on another as soon as there is one. */
  unbind(connection: CallbackConnection): void {
    if (!this.#connections.delete(connection)) {
      return;
    }
    for (const slot of this.#slots) {
      if (slot.connection === connection) {
        slot.connection = undefined;
      }
    }
    this.#sendNext();
  }

  send(call: CallbackCall): void {
    if (this.#queue.length >= MAXIMUM_QUEUED) {
      this.#queue = this.#queue.filter(({ wanted }) => wanted);
    }
    if (this.#closed || this.fault || this.#queue.length >= MAXIMUM_QUEUED) {
      call.failed();
      return;
    }
    this.#queue.push(call);
    this.#sendNext();
  }

  /** Ends with the session: unanswered calls fail. */
  close(): void {
    if (this.#closed) {
      return;
    }
    this.#closed = true;
    this.#connections.clear();
    this.#giveUp();
  }

  /** Takes the reply to a call; false if the call is not one of this channel's. */
  reply(connection: CallbackConnection, xid: number, reader: XdrReader): boolean {
    const slot = this.#slots.find((used) => used.connection === connection && used.xid === xid);
    if (slot?.call === undefined) {
      return false;
    }
    slot.connection = undefined;
    try {
      this.#readReply(slot, slot.call, reader);
    } catch (error) {
      if (!(error instanceof XdrError)) {
        throw error;
      }
      this.#break();
    }
    this.#sendNext();
    return true;
  }

  #readReply(slot: Slot, call: CallbackCall, reader: XdrReader): void {
    const accepted = readAccepted(reader);
    const count = accepted ? readCompound(reader) : 0;
    if (accepted && (count < 1 || reader.uint32() !== CallbackOperation.SEQUENCE)) {
      throw new XdrError("the first result is not that of CB_SEQUENCE");
    }
    const status = accepted ? reader.uint32() : Status.DELAY;
    if (status === Status.DELAY) {
      // The call never reached the slot: the sequenceid stays.
      slot.call = undefined;
      call.failed();
      return;
    }
    if (status === Status.RETRY_UNCACHED_REP || status === Status.SEQ_FALSE_RETRY) {
      // It had already arrived before it was repeated. What the client made of it can no longer be known.
      this.#release(slot);
      call.failed();
      return;
    }
    if (status !== Status.OK) {
      throw new XdrError(`CB_SEQUENCE failed with status ${status}`);
    }
    const ours = reader.fixed(16).equals(this.#sessionId);
    const sequenceid = reader.uint32();
    const slotid = reader.uint32();
    reader.uint32();
    const target = reader.uint32();
    if (!ours || sequenceid !== slot.sequenceid || this.#slots[slotid] !== slot) {
      throw new XdrError("CB_SEQUENCE's result is that of another call");
    }
    this.#usable = Math.min(target + 1, this.attributes.maxRequests);
    this.#release(slot);
    this.#readResult(call, count, reader);
  }

  /** The slot's call has been answered: the next call takes the next sequenceid. */
  #release(slot: Slot): void {
    slot.sequenceid = (slot.sequenceid + 1) >>> 0;
    slot.call = undefined;
  }

  /** An error in the result harms only this call: the slots are in order. */
  #readResult(call: CallbackCall, count: number, reader: XdrReader): void {
    try {
      if (count < 2 || reader.uint32() !== call.operation) {
        call.failed();
      } else {
        call.answered(reader.uint32(), reader);
      }
    } catch (error) {
      if (!(error instanceof XdrError)) {
        throw error;
      }
      call.failed();
    }
  }

  #break(): void {
    this.fault = true;
    this.#giveUp();
  }

  #giveUp(): void {
    const calls = this.#queue.splice(0);
    for (const slot of this.#slots) {
      if (slot.call !== undefined) {
        calls.push(slot.call);
      }
      slot.call = slot.connection = undefined;
    }
    for (const call of calls) {
      call.failed();
    }
  }

  /** Sends the calls that lost their connection, then as many waiting ones as there are free slots. */
  #sendNext(): void {
    const connection = this.#connections.values().next().value;
    if (connection === undefined || this.fault) {
      return;
    }
    for (const slot of this.#slots) {
      if (slot.call !== undefined && slot.connection === undefined) {
        this.#transmit(slot, slot.call, connection);
      }
    }
    while (this.#queue.length > 0) {
      const slot = this.#freeSlot();
      if (slot === undefined) {
        return;
      }
      const call = this.#queue.shift()!;
      if (!call.wanted) {
        call.failed();
      } else {
        this.#transmit(slot, call, connection);
      }
    }
  }

  #freeSlot(): Slot | undefined {
    const index = this.#slots.findIndex((slot) => slot.call === undefined);
    if (index >= 0) {
      return index < this.#usable ? this.#slots[index] : undefined;
    }
    if (this.#slots.length >= this.#usable) {
      return undefined;
    }
    const slot: Slot = { sequenceid: 1, call: undefined, connection: undefined, xid: 0 };
    this.#slots.push(slot);
    return slot;
  }

  #transmit(slot: Slot, call: CallbackCall, connection: CallbackConnection): void {
    slot.call = call;
    slot.xid = connection.nextCallbackXid();
    const record = this.#encode(slot, call);
    if (record.length - 4 > this.attributes.maxRequestSize) {
      slot.call = undefined;
      call.failed();
      return;
    }
    slot.connection = connection;
    connection.enqueue(record);
  }

  #encode(slot: Slot, call: CallbackCall): Uint8Array {
    const writer = new XdrWriter(512);
    beginCall(writer, slot.xid, this.program, CB_COMPOUND, this.credential);
    beginCompound(writer, this.#minorVersion, 0, 2);
    writer.uint32(CallbackOperation.SEQUENCE);
    writer.fixed(this.#sessionId);
    writer.uint32(slot.sequenceid);
    writer.uint32(this.#slots.indexOf(slot));
    writer.uint32(this.#slots.findLastIndex((used) => used.call !== undefined));
    writer.bool(false);
    writer.uint32(0);
    writer.uint32(call.operation);
    call.encode(writer);
    return finishCall(writer);
  }
}
