import { BackChannel } from "../callback/back-channel.ts";
import type { Connection } from "../transport/connection.ts";
import type { Client } from "./client.ts";

/** Limits of one direction of a session (channel_attrs4, RFC 8881 §18.36). Sizes in bytes. */
export interface ChannelAttributes {
  readonly maxRequestSize: number;
  readonly maxResponseSize: number;
  readonly maxResponseSizeCached: number;
  readonly maxOperations: number;
  readonly maxRequests: number;
}

/** One place for a request of a session, with the reply to the last one (RFC 8881 §2.10.6). */
export class Slot {
  sequenceid = 0;
  busy = false;
  /** COMPOUND4res of the last request, where the client wanted it kept. */
  reply: Buffer | undefined;
  /** Of the last request: bytes, and who sent it. A retry has the same. */
  requestLength = 0;
  principal = "";
  /** Its checksum, where its reply is kept. */
  checksummed = false;
  requestChecksum = 0;
  /** A retry of the request in progress came in by this connection: it gets the reply, too. */
  retryConnection: Connection | undefined;
  retryXid = 0;
}

export class Session {
  readonly client: Client;
  /** 16 bytes that cannot be guessed. */
  readonly id: Buffer;
  readonly key: string;
  readonly words: readonly [number, number, number, number];
  readonly fore: ChannelAttributes;
  readonly backChannel: BackChannel;
  readonly slots: Slot[] = [];
  /** Connections that have carried the session. */
  readonly connections = new Set<Connection>();
  destroyed = false;
  /** Requests of this session in progress. */
  active = 0;

  /** `minorVersion` is that of CREATE_SESSION; calls on the back channel carry it, too. */
  constructor(
    client: Client,
    id: Buffer,
    minorVersion: number,
    fore: ChannelAttributes,
    back: ChannelAttributes,
    callbackProgram: number,
    callbackCredential: Buffer,
  ) {
    this.client = client;
    this.id = id;
    this.key = id.toString("latin1");
    this.words = [id.readUInt32BE(0), id.readUInt32BE(4), id.readUInt32BE(8), id.readUInt32BE(12)];
    this.fore = fore;
    this.backChannel = new BackChannel(id, minorVersion, back, callbackProgram, callbackCredential);
  }

  /** Slots come into being when they are first used: most clients use few of those they are granted. */
  slot(id: number): Slot {
    while (this.slots.length <= id) {
      this.slots.push(new Slot());
    }
    return this.slots[id]!;
  }
}
