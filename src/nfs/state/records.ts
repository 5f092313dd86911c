import type { BackChannel, CallbackConnection, ChannelAttributes } from "../callback/back-channel.ts";
import type { RecallCall } from "../callback/call.ts";
import type { CallbackProgram } from "../callback/callback-program.ts";
import type { Attributes, Node, RegularFile, Timestamp } from "../file-system.ts";
import type { LockOffset } from "./lock-offset.ts";

/*
 * What the server remembers of its clients is one graph, so these classes are in one file: a client has sessions and
 * owners, an owner has states, a state is of a file, and each knows whose it is.
 */

const MAXIMUM_IDLE_OWNERS = 1024;

/** By what a client is known: arguments of EXCHANGE_ID or SETCLIENTID, and who sent them. */
export interface ClientIdentity {
  /** 0 for NFSv4.0, 1 for all later ones. */
  readonly minorVersion: number;
  /** co_ownerid or nfs_client_id4.id. */
  readonly owner: string;
  readonly verifierHigh: number;
  readonly verifierLow: number;
  /** Who made the record; only the same may replace it. */
  readonly principal: string;
}

/** A client record: what EXCHANGE_ID or SETCLIENTID made, and all state under it. */
export class Client {
  /** Low half of the clientid; the high half tells the server's instances apart. */
  readonly id: number;
  readonly owner: string;
  readonly verifierHigh: number;
  readonly verifierLow: number;
  readonly principal: string;
  readonly minorVersion: number;
  confirmed = false;
  /** Milliseconds of the server's clock. */
  renewedAt: number;
  readonly openOwners = new Map<string, OpenOwner>();
  readonly lockOwners = new Map<string, LockOwner>();
  readonly sessions = new Set<Session>();
  readonly delegations = new Set<Delegation>();
  /** Opens, locks' states and delegations; byte ranges that are locked. */
  stateCount = 0;
  lockCount = 0;
  /** The next csa_sequence that CREATE_SESSION expects. */
  createSequence = 1;
  /** CREATE_SESSION4res of the last one. */
  createReply: Buffer | undefined;
  reclaimComplete = false;
  /** Passed the security gate. */
  admitted = false;
  /** Milliseconds of the monotonic clock until which it is not asked for attributes, as it did not answer. */
  silentUntil = 0;
  /** Delegations that were taken away; SEQUENCE says so until the client has freed them. */
  readonly revoked = new Set<Delegation>();
  /** NFSv4.0: the path for callbacks, where delegations are given. */
  callback: CallbackProgram | undefined;
  /** The confirmed record that this one, once it is confirmed, gives a new callback. */
  updates: Client | undefined;
  /** NFSv4.0: SETCLIENTID's confirm verifier and callback. */
  confirmHigh = 0;
  confirmLow = 0;
  callbackProgram = 0;
  callbackAddress = "";
  callbackNetid = "";
  callbackIdent = 0;

  constructor(id: number, identity: ClientIdentity, now: number) {
    this.id = id;
    this.owner = identity.owner;
    this.verifierHigh = identity.verifierHigh;
    this.verifierLow = identity.verifierLow;
    this.principal = identity.principal;
    this.minorVersion = identity.minorVersion;
    this.renewedAt = now;
  }

  /** Lets go of owners without a state where there are many: NFSv4.0 keeps them for the retry of their last request. */
  trimOwners(): void {
    const { openOwners, lockOwners } = this;
    if (openOwners.size + lockOwners.size < this.stateCount + MAXIMUM_IDLE_OWNERS) {
      return;
    }
    for (const owner of openOwners.values()) {
      if (owner.opens.size === 0 && owner.sequence?.busy !== true) {
        openOwners.delete(owner.key);
      }
    }
    for (const owner of lockOwners.values()) {
      if (owner.states.size === 0 && owner.sequence?.busy !== true) {
        lockOwners.delete(owner.key);
      }
    }
  }

  /** Holds opens, locks or delegations. */
  get hasState(): boolean {
    if (this.delegations.size > 0) {
      return true;
    }
    for (const owner of this.openOwners.values()) {
      if (owner.opens.size > 0) {
        return true;
      }
    }
    return false;
  }
}

/** What a session needs of the connections that carry it. */
export interface SessionConnection extends CallbackConnection {
  /** Sends COMPOUND4res bytes as the reply to `xid`. */
  sendReply(xid: number, result: Uint8Array): void;
  /** The session has ended. */
  forgetSession(session: Session): void;
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
  retryConnection: SessionConnection | undefined;
  retryXid = 0;
}

export class Session {
  readonly client: Client;
  /** 16 bytes that cannot be guessed. */
  readonly id: Buffer;
  readonly key: string;
  readonly fore: ChannelAttributes;
  readonly backChannel: BackChannel;
  readonly slots: Slot[] = [];
  /** Connections that have carried the session. */
  readonly connections = new Set<SessionConnection>();
  destroyed = false;
  /** Requests of this session in progress. */
  active = 0;

  constructor(client: Client, id: Buffer, fore: ChannelAttributes, backChannel: BackChannel) {
    this.client = client;
    this.id = id;
    this.key = id.toString("latin1");
    this.fore = fore;
    this.backChannel = backChannel;
  }

  /** Slots come into being when they are first used: most clients use few of those they are granted. */
  slot(id: number): Slot {
    while (this.slots.length <= id) {
      this.slots.push(new Slot());
    }
    return this.slots[id]!;
  }
}

/**
 * The seqid of a state owner (RFC 7530 §9.1.7) with the reply to its last request. NFSv4.1 has slots for this
 * purpose and leaves it alone.
 */
export class OwnerSequence {
  seqid = 0;
  started = false;
  busy = false;
  /** The result of the last operation, from its number on. */
  reply: Buffer | undefined;
  /** The current filehandle after it. */
  replyNode: Node | undefined;
}

export class OpenOwner {
  readonly client: Client;
  readonly key: string;
  readonly opens = new Map<FileState, OpenState>();
  /** NFSv4.0: OPEN_CONFIRM has been seen. */
  confirmed = false;
  sequence: OwnerSequence | undefined;

  constructor(client: Client, key: string) {
    this.client = client;
    this.key = key;
  }
}

export class LockOwner {
  readonly client: Client;
  readonly key: string;
  readonly states = new Map<FileState, LockState>();
  sequence: OwnerSequence | undefined;

  constructor(client: Client, key: string) {
    this.client = client;
    this.key = key;
  }
}

/** What a stateid stands for (RFC 8881 §8.2): an open, the locks of an owner on a file, or a delegation. */
export abstract class State {
  readonly client: Client;
  readonly file: FileState;
  /** Place in the table of states; part of the stateid. */
  index = -1;
  /** Tells apart states that had the same place one after the other; part of the stateid. */
  generation = 0;
  seqid = 1;
  /** Taken away by the server; the client learns of it by TEST_STATEID and lets go by FREE_STATEID. */
  revoked = false;

  constructor(client: Client, file: FileState) {
    this.client = client;
    this.file = file;
  }

  /** Every change of the state gives it the next seqid; 0 is left out. */
  advance(): void {
    this.seqid = this.seqid === 0xffff_ffff ? 1 : this.seqid + 1;
  }
}

export class OpenState extends State {
  readonly owner: OpenOwner;
  /** Share bits. */
  access = 0;
  deny = 0;
  /**
   * One bit for each access (1 to 3) and, shifted by 4, each deny (0 to 3) that an OPEN asked for:
   * OPEN_DOWNGRADE may only go back to a union of some of these.
   */
  asked = 0;
  /** Lock states that were made from this open. */
  lockStates: LockState[] | undefined;
  /** Place in {@link FileState.opens}. */
  indexInFile = -1;

  constructor(client: Client, file: FileState, owner: OpenOwner) {
    super(client, file);
    this.owner = owner;
  }
}

export class LockState extends State {
  readonly open: OpenState;
  readonly owner: LockOwner;

  constructor(client: Client, file: FileState, open: OpenState, owner: LockOwner) {
    super(client, file);
    this.open = open;
    this.owner = owner;
  }
}

/** The attributes that the holder of a delegation may answer for. */
export interface GivenAttributes {
  readonly change: number;
  readonly accessTime: Timestamp;
  readonly modifyTime: Timestamp;
}

export class Delegation extends State {
  /** Share.READ or Share.WRITE. */
  readonly type: number;
  /** Milliseconds of the server's clock when the recall was sent; undefined before. */
  recalledAt: number | undefined;
  /** The call that asks for it. */
  recall: RecallCall | undefined;
  /** Neither returned nor revoked. */
  isHeld = true;
  /** The holder keeps the file's times (RFC 9754 §5). */
  readonly timestamps: boolean;
  /** What the holder was given, and what it says of the file is measured by. */
  readonly given: GivenAttributes;
  /** The holder has said that it has modified data, or had. */
  modified = false;
  /** The question to the holder that is under way. */
  question: Promise<Attributes | undefined> | undefined;

  constructor(client: Client, file: FileState, type: number, timestamps: boolean, given: GivenAttributes) {
    super(client, file);
    this.type = type;
    this.timestamps = timestamps;
    this.given = given;
  }
}

/** Everything the server remembers of a file that is open, locked or delegated. */
export class FileState {
  readonly key: string;
  readonly node: RegularFile;
  readonly opens: OpenState[] = [];
  delegations: Delegation[] | undefined;
  locks: ByteRangeLock[] | undefined;
  /** Who wants to be told when locks go. */
  waiters: LockWaiter[] | undefined;
  /** How many opens have each bit. */
  readers = 0;
  writers = 0;
  denyRead = 0;
  denyWrite = 0;
  /** The verifier of the exclusive create that made the file. */
  createVerifierHigh = 0;
  createVerifierLow = 0;
  createdExclusively = false;

  constructor(key: string, node: RegularFile) {
    this.key = key;
    this.node = node;
  }
}

/** `end` is one behind the last byte; Infinity for a lock that goes to the end of any file. */
export interface ByteRangeLock {
  readonly state: LockState;
  readonly start: LockOffset;
  readonly end: LockOffset;
  readonly write: boolean;
}

/** A LOCK that was denied, of a client that wants to be told when it is worth another try (RFC 8881 §18.10.3). */
export interface LockWaiter {
  readonly client: Client;
  /** lock_owner4 without the clientid. */
  readonly ownerKey: string;
  readonly start: LockOffset;
  readonly end: LockOffset;
  readonly write: boolean;
}
