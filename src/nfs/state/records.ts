import { wordsOf } from "../../xdr/index.ts";
import type { BackChannel, CallbackConnection, ChannelAttributes } from "../callback/back-channel.ts";
import type { RecallCall } from "../callback/call.ts";
import type { CallbackProgram } from "../callback/callback-program.ts";
import type { Attributes, Node, RegularFile, Timestamp } from "../file-system.ts";
import type { LockOffset } from "./lock-offset.ts";
import type { LockedRange, LockTree } from "./lock-tree.ts";

/*
 * What the server remembers of its clients is one graph, so these classes share a file: a client has sessions and
 * owners, an owner has states, a state refers to a file, and each knows whose it is.
 */

const MAXIMUM_IDLE_OWNERS = 1024;

/** What identifies a client: the arguments of EXCHANGE_ID or SETCLIENTID, and who sent them. */
export interface ClientIdentity {
  /** 0 for NFSv4.0, 1 for all later ones. */
  readonly minorVersion: number;
  /** co_ownerid or nfs_client_id4.id. */
  readonly owner: string;
  readonly verifierHigh: number;
  readonly verifierLow: number;
  /** Who made the record; only the same principal may replace it. */
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
  /** When the lease was last renewed, in milliseconds of the server's clock. */
  renewedAt: number;
  readonly openOwners = new Map<string, OpenOwner>();
  readonly lockOwners = new Map<string, LockOwner>();
  readonly sessions = new Set<Session>();
  readonly delegations = new Set<Delegation>();
  /** Opens, lock states and delegations; then locked byte ranges. */
  stateCount = 0;
  lockCount = 0;
  /** The next csa_sequence that CREATE_SESSION expects. */
  createSequence = 1;
  /** The last CREATE_SESSION4res. */
  createReply: Buffer | undefined;
  reclaimComplete = false;
  /** Has passed the gate. */
  admitted = false;
  /** Having failed to answer, it is not asked for attributes until then: milliseconds of the monotonic clock. */
  silentUntil = 0;
  /** Revoked delegations; SEQUENCE reports them until the client has freed them. */
  readonly revoked = new Set<Delegation>();
  /** NFSv4.0: the path for callbacks, if delegations are given. */
  callback: CallbackProgram | undefined;
  /** The confirmed record that gets a new callback from this one once it is confirmed. */
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

  /** Forgets owners without a state if there are many: NFSv4.0 keeps them for a retry of their last request. */
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

  /** Whether it holds opens, locks or delegations. */
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

/** A session's slot: one request at a time, and the reply to the last one (RFC 8881 §2.10.6). */
export class Slot {
  sequenceid = 0;
  busy = false;
  /** COMPOUND4res of the last request, if the client wanted it kept. */
  reply: Buffer | undefined;
  /** The last request's length in bytes, and its principal: a retry has the same. */
  requestLength = 0;
  principal = "";
  /** Whether its checksum is known, as it is if its reply is kept. */
  checksummed = false;
  requestChecksum = 0;
  /** A retry of the request in progress came on this connection, which gets the reply as well. */
  retryConnection: SessionConnection | undefined;
  retryXid = 0;
}

export class Session {
  readonly client: Client;
  /** 16 bytes that cannot be guessed. */
  readonly id: Buffer;
  readonly key: string;
  readonly idWords: Uint32Array;
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
    this.idWords = wordsOf(id);
    this.fore = fore;
    this.backChannel = backChannel;
  }

  /** Slots are created when first used: most clients use few of those they are granted. */
  slot(id: number): Slot {
    while (this.slots.length <= id) {
      this.slots.push(new Slot());
    }
    return this.slots[id]!;
  }
}

/**
 * The seqid of a state owner (RFC 7530 §9.1.7) with the reply to its last request. NFSv4.1 uses slots
 * instead.
 */
export class OwnerSequence {
  seqid = 0;
  started = false;
  busy = false;
  /** The result of the last operation, from its number on. */
  reply: Buffer | undefined;
  /** The current filehandle after it, if it was an OPEN. */
  replyNode: Node | undefined;
}

export class OpenOwner {
  readonly client: Client;
  readonly key: string;
  readonly opens = new Map<FileState, OpenState>();
  /** NFSv4.0: whether OPEN_CONFIRM has been seen. */
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
  /** Index in the table of states; part of the stateid. */
  index = -1;
  /** Distinguishes successive states with the same index; part of the stateid. */
  generation = 0;
  seqid = 1;
  /** Taken away by the server; the client learns of it by TEST_STATEID and frees it by FREE_STATEID. */
  revoked = false;

  constructor(client: Client, file: FileState) {
    this.client = client;
    this.file = file;
  }

  /** Every change of the state gives it the next seqid; 0 is skipped. */
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
   * OPEN_DOWNGRADE may return only to a union of some of these.
   */
  asked = 0;
  /** Lock states made under this open. */
  lockStates: Set<LockState> | undefined;
  /** Index in {@link FileState.opens}. */
  indexInFile = -1;

  constructor(client: Client, file: FileState, owner: OpenOwner) {
    super(client, file);
    this.owner = owner;
  }
}

export class LockState extends State {
  readonly open: OpenState;
  readonly owner: LockOwner;
  /** The owner's locks of the file, which do not overlap, in order of their starts. */
  readonly ranges: ByteRangeLock[] = [];

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
  /** When the recall was sent, in milliseconds of the server's clock; undefined before. */
  recalledAt: number | undefined;
  /** The call that recalls it. */
  recall: RecallCall | undefined;
  #isHeld = true;
  #ended: PromiseWithResolvers<void> | undefined;
  /** The holder keeps the file's times (RFC 9754 §5). */
  readonly timestamps: boolean;
  /** The attributes that the holder was given, against which its answers are measured. */
  readonly given: GivenAttributes;
  /** The holder has said at some time that it had modified data. */
  modified = false;
  /** The question to the holder now under way. */
  question: Promise<Attributes | undefined> | undefined;

  constructor(client: Client, file: FileState, type: number, timestamps: boolean, given: GivenAttributes) {
    super(client, file);
    this.type = type;
    this.timestamps = timestamps;
    this.given = given;
  }

  /** False once it has been returned or revoked. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** Resolves when it has been returned or revoked. */
  get ended(): Promise<void> {
    this.#ended ??= Promise.withResolvers();
    if (!this.#isHeld) {
      this.#ended.resolve();
    }
    return this.#ended.promise;
  }

  end(): void {
    this.#isHeld = false;
    this.#ended?.resolve();
  }
}

/** Everything the server remembers of a file that is open, locked or delegated. */
export class FileState {
  readonly key: string;
  #node: RegularFile;
  readonly opens: OpenState[] = [];
  delegations: Delegation[] | undefined;
  /** All locks, of all owners; undefined where there are none. */
  locks: LockTree<ByteRangeLock> | undefined;
  /** The {@link ByteRangeLock.serial} of the next lock. */
  nextLock = 0;
  /** Those who want to be told when locks are released. */
  waiters: LockWaiter[] | undefined;
  /** How many opens have each share bit. */
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
    this.#node = node;
  }

  get node(): RegularFile {
    return this.#node;
  }

  /** Another node has the file's handle from now on. */
  become(node: RegularFile): void {
    node.retain();
    this.#node.release();
    this.#node = node;
  }
}

/** `end` is one past the last byte, or Infinity for a lock without an end. */
export interface ByteRangeLock extends LockedRange {
  readonly state: LockState;
}

/** A denied LOCK whose client wants to be told when to try again (RFC 8881 §18.10.3). */
export interface LockWaiter {
  readonly client: Client;
  /** lock_owner4 without the clientid. */
  readonly ownerKey: string;
  readonly start: LockOffset;
  readonly end: LockOffset;
  readonly write: boolean;
}
