import type { Connection } from "../connection.ts";
import type { Client } from "./client.ts";
import type { Delegation } from "./states.ts";

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
  /** Checksum of the request that `reply` answers. */
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
  readonly back: ChannelAttributes;
  readonly slots: Slot[] = [];
  /** Connections that have carried the session. */
  readonly connections = new Set<Connection>();
  /** Those of them that callbacks may use. */
  readonly backConnections = new Set<Connection>();
  /** What the client's callbacks are called by: program number of CREATE_SESSION or BACKCHANNEL_CTL. */
  callbackProgram: number;
  /** The minor version that made the session; its callbacks carry it, too. */
  minorVersion = 1;
  /** Flavor and body of the credentials that callbacks carry. */
  callbackCredential: Buffer;
  /** The back channel's slot: its next sequenceid, and what waits for it. */
  backSequence = 1;
  backBusy = false;
  readonly recalls: Delegation[] = [];
  destroyed = false;
  /** Requests of this session in progress. */
  active = 0;

  constructor(
    client: Client,
    id: Buffer,
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
    this.back = back;
    this.callbackProgram = callbackProgram;
    this.callbackCredential = callbackCredential;
  }

  /** Slots come into being when they are first used: most clients use few of those they are granted. */
  slot(id: number): Slot {
    while (this.slots.length <= id) this.slots.push(new Slot());
    return this.slots[id]!;
  }
}
