import type { Recall } from "../callback/recall.ts";
import type { Attributes, RegularFile, Timestamp } from "../file-system.ts";
import type { Client } from "./client.ts";
import type { LockWaiter } from "./lock-waiters.ts";
import type { ByteRangeLock } from "./locks.ts";
import type { LockOwner, OpenOwner } from "./owners.ts";

/** What a stateid stands for (RFC 8881 §8.2): an open, the locks of an owner on a file, or a delegation. */
export abstract class State {
  readonly client: Client;
  readonly file: FileState;
  /** Place in the {@link StateTable}; part of the stateid. */
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
  recall: Recall | undefined;
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

/**
 * All states by the number in their stateid: a place in an array and the generation of that place, so that
 * finding one costs neither a hash nor an allocation.
 */
export class StateTable {
  readonly #states: (State | undefined)[] = [];
  readonly #generations: number[] = [];
  readonly #free: number[] = [];

  get size(): number {
    return this.#states.length - this.#free.length;
  }

  add(state: State): void {
    const index = this.#free.pop() ?? this.#states.length;
    if (index === this.#states.length) {
      this.#states.push(undefined);
      this.#generations.push(0);
    }
    this.#states[index] = state;
    state.index = index;
    state.generation = this.#generations[index]!;
    state.client.stateCount++;
  }

  remove(state: State): void {
    if (this.#states[state.index] !== state) {
      return;
    }
    this.#states[state.index] = undefined;
    this.#generations[state.index] = (state.generation + 1) >>> 0;
    this.#free.push(state.index);
    state.client.stateCount--;
  }

  get(index: number, generation: number): State | undefined {
    const state = this.#states[index];
    return state !== undefined && state.generation === generation ? state : undefined;
  }

  /** Whether there was such a state once. */
  existed(index: number, generation: number): boolean {
    return index < this.#generations.length && generation < this.#generations[index]!;
  }
}
