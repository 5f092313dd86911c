import { randomBytes } from "node:crypto";
import type { RegularFile } from "../file-system.ts";
import type { Limits } from "../limits.ts";
import { Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { type ClientStates, Clients } from "./clients.ts";
import { DuplicateRequests } from "./duplicate-requests.ts";
import { expireHolders } from "./lock-waiters.ts";
import { removeAllLocks } from "./locks.ts";
import {
  type Client,
  Delegation,
  FileState,
  type GivenAttributes,
  LockOwner,
  LockState,
  OpenOwner,
  OpenState,
  OwnerSequence,
  type State,
} from "./records.ts";
import { StateTable } from "./state-table.ts";
import type { StateidArgument } from "./stateid.ts";

/** Opens, locks and delegations of one server, and the clients that hold them. */
export class ServerState implements ClientStates {
  /** Distinguishes this server instance from others: high half of clientids, first word of stateids. */
  readonly instance = randomBytes(4).readUInt32BE() || 1;
  /** Write verifier; also the server's owner and scope, so that no client takes two servers for one. */
  readonly verifier: Buffer = randomBytes(8);
  readonly leaseMilliseconds: number;
  readonly #limits: Limits;
  /** Milliseconds of a monotonic clock, as of the arrival of the bytes now being served. */
  now = performance.now();

  readonly clients: Clients;
  readonly states = new StateTable();
  readonly duplicates = new DuplicateRequests();
  /** How many opens deny something: if zero, reads and writes without a stateid pass at once. */
  denies = 0;
  delegations = 0;
  /** Delegations of files that can change. */
  mutableDelegations = 0;
  /** Called with a file when locks on it have gone while others wait. */
  onLocksGone: ((file: FileState) => void) | undefined;

  readonly #files = new Map<string, FileState>();
  /** The last {@link MAXIMUM_REMEMBERED} states that ended with a lease. */
  readonly #expired = new Set<number>();
  readonly #closed = new Map<number, OpenOwner>();

  /** `onRemoved` is called with each client whose record has ended. */
  constructor(leaseSeconds: number, limits: Limits, onRemoved: (client: Client) => void = () => {}) {
    this.#limits = limits;
    this.leaseMilliseconds = leaseSeconds * 1000;
    this.clients = new Clients(this, limits, onRemoved);
  }

  /** Whether a state ended with its client's lease, not at the client's request. */
  wasExpired(index: number, generation: number): boolean {
    return this.#expired.has(closedKey(index, generation));
  }

  /** To be called now and then: ends clients that are silent for too long. */
  sweep(): void {
    this.clients.sweep();
    expireHolders(this.#files.values(), this.clients);
  }

  /** Whether the client may have another state. */
  mayAddState(client: Client): boolean {
    return client.stateCount < this.#limits.maximumStatesPerClient;
  }

  mayAddLock(client: Client): boolean {
    return client.lockCount < this.#limits.maximumLocksPerClient && this.mayAddState(client);
  }

  // Files

  /** undefined if the file is neither open, locked nor delegated. */
  findFile(node: RegularFile): FileState | undefined {
    return this.#files.size === 0 ? undefined : this.#files.get(handleKey(node.handle));
  }

  #file(node: RegularFile): FileState {
    const key = handleKey(node.handle);
    let file = this.#files.get(key);
    if (file === undefined) {
      file = new FileState(key, node);
      this.#files.set(key, file);
      node.retain();
    }
    return file;
  }

  #releaseFile(file: FileState): void {
    if (file.opens.length > 0 || (file.delegations !== undefined && file.delegations.length > 0)) {
      return;
    }
    if (this.#files.get(file.key) !== file) {
      return;
    }
    this.#files.delete(file.key);
    file.node.release();
  }

  // Opens

  openOwner(client: Client, key: string): OpenOwner {
    let owner = client.openOwners.get(key);
    if (owner === undefined) {
      client.trimOwners();
      owner = new OpenOwner(client, key);
      client.openOwners.set(key, owner);
    }
    return owner;
  }

  /** OK, or SHARE_DENIED if an open, even of the same owner, conflicts (RFC 8881 §9.7). */
  checkShare(node: RegularFile, access: number, deny: number): Status {
    const file = this.findFile(node);
    if (file === undefined) {
      return Status.OK;
    }
    for (let index = file.opens.length - 1; index >= 0; index--) {
      // Without a deny on either side nothing can conflict, however many opens there are.
      if (deny === 0 && file.denyRead === 0 && file.denyWrite === 0) {
        break;
      }
      const open = file.opens[index];
      if (open === undefined) {
        continue;
      }
      if ((open.deny & access) === 0 && (open.access & deny) === 0) {
        continue;
      }
      if (!this.clients.resolveConflict(open.client)) {
        return Status.SHARE_DENIED;
      }
      index = file.opens.length;
    }
    return Status.OK;
  }

  /** The owner's open of the file with `access` and `deny` added: a new state, or an existing one's next seqid. */
  open(owner: OpenOwner, node: RegularFile, access: number, deny: number): OpenState {
    const file = this.#file(node);
    let open = owner.opens.get(file);
    if (open === undefined) {
      open = new OpenState(owner.client, file, owner);
      this.states.add(open);
      owner.opens.set(file, open);
      open.indexInFile = file.opens.length;
      file.opens.push(open);
    } else {
      open.advance();
    }
    open.asked |= (1 << access) | (1 << (deny + 4));
    this.setShare(open, open.access | access, open.deny | deny);
    return open;
  }

  setShare(open: OpenState, access: number, deny: number): void {
    const file = open.file;
    file.readers += (access & Share.READ) - (open.access & Share.READ);
    file.writers += ((access & Share.WRITE) - (open.access & Share.WRITE)) / 2;
    file.denyRead += (deny & Share.READ) - (open.deny & Share.READ);
    file.denyWrite += ((deny & Share.WRITE) - (open.deny & Share.WRITE)) / 2;
    this.denies += (deny === 0 ? 0 : 1) - (open.deny === 0 ? 0 : 1);
    open.access = access;
    open.deny = deny;
  }

  /** Ends the open and the locks made under it. */
  close(open: OpenState): void {
    const file = open.file;
    if (open.lockStates !== undefined) {
      removeAllLocks(file, open.lockStates);
      this.locksGone(file);
      for (const state of open.lockStates) {
        this.#endLockState(state);
      }
    }
    this.setShare(open, 0, 0);
    const last = file.opens.pop()!;
    if (last !== open) {
      file.opens[open.indexInFile] = last;
      last.indexInFile = open.indexInFile;
    }
    const owner = open.owner;
    owner.opens.delete(file);
    // NFSv4.0 owners live on so that their last request can be replayed.
    if (owner.opens.size === 0 && owner.sequence === undefined) {
      owner.client.openOwners.delete(owner.key);
    }
    this.states.remove(open);
    this.#releaseFile(file);
  }

  // Locks

  lockOwner(client: Client, key: string): LockOwner {
    let owner = client.lockOwners.get(key);
    if (owner === undefined) {
      client.trimOwners();
      owner = new LockOwner(client, key);
      client.lockOwners.set(key, owner);
    }
    return owner;
  }

  /** The state under which `owner` locks ranges of the file that `open` has open. */
  lockState(open: OpenState, owner: LockOwner): LockState {
    let state = owner.states.get(open.file);
    if (state === undefined) {
      state = new LockState(open.client, open.file, open, owner);
      state.seqid = 0;
      this.states.add(state);
      owner.states.set(open.file, state);
      open.lockStates ??= new Set();
      open.lockStates.add(state);
    }
    return state;
  }

  /** To be called after a lock on the file has gone or shrunk. */
  locksGone(file: FileState): void {
    if (file.waiters !== undefined) {
      this.onLocksGone?.(file);
    }
  }

  /** Ends the state and unlocks what it holds. */
  removeLockState(state: LockState): void {
    removeAllLocks(state.file, [state]);
    this.locksGone(state.file);
    this.#endLockState(state);
  }

  #endLockState(state: LockState): void {
    state.open.lockStates?.delete(state);
    const owner = state.owner;
    owner.states.delete(state.file);
    if (owner.states.size === 0 && owner.sequence === undefined) {
      owner.client.lockOwners.delete(owner.key);
    }
    this.states.remove(state);
  }

  #rememberExpired(state: State): void {
    this.#expired.add(closedKey(state.index, state.generation));
    trim(this.#expired);
  }

  // Owners of NFSv4.0, by a stateid that may be older than the state or outlive it

  findOpenOwner(stateid: StateidArgument): OpenOwner | undefined {
    if (stateid.word0 !== this.instance) {
      return undefined;
    }
    const state = this.states.get(stateid.word1, stateid.word2);
    if (state instanceof OpenState) {
      return state.owner;
    }
    return state === undefined ? this.#closed.get(closedKey(stateid.word1, stateid.word2)) : undefined;
  }

  findLockOwner(stateid: StateidArgument): LockOwner | undefined {
    if (stateid.word0 !== this.instance) {
      return undefined;
    }
    const state = this.states.get(stateid.word1, stateid.word2);
    return state instanceof LockState ? state.owner : undefined;
  }

  /** For a retry of the CLOSE. */
  rememberClosed(open: OpenState, owner: OpenOwner): void {
    this.#closed.set(closedKey(open.index, open.generation), owner);
    trim(this.#closed);
  }

  /** NFSv4.0: a lock owner's first lock sets its seqid; the result is kept with the open owner's seqid. */
  startLockOwner(owner: LockOwner, seqid: number): void {
    if (owner.client.minorVersion > 0) {
      return;
    }
    owner.sequence ??= new OwnerSequence();
    owner.sequence.seqid = seqid;
    owner.sequence.started = true;
  }

  // Delegations

  delegate(
    client: Client,
    node: RegularFile,
    type: number,
    timestamps: boolean,
    given: GivenAttributes,
  ): Delegation {
    const file = this.#file(node);
    const delegation = new Delegation(client, file, type, timestamps, given);
    file.delegations ??= [];
    file.delegations.push(delegation);
    client.delegations.add(delegation);
    this.states.add(delegation);
    this.delegations++;
    if (!node.immutable) {
      this.mutableDelegations++;
    }
    return delegation;
  }

  removeDelegation(delegation: Delegation, keepStateid = false): void {
    const file = delegation.file;
    const siblings = file.delegations ?? [];
    const index = siblings.indexOf(delegation);
    if (index < 0) {
      return;
    }
    siblings.splice(index, 1);
    delegation.end();
    if (siblings.length === 0) {
      file.delegations = undefined;
    }
    delegation.client.delegations.delete(delegation);
    if (!keepStateid) {
      this.states.remove(delegation);
    }
    this.delegations--;
    if (!file.node.immutable) {
      this.mutableDelegations--;
    }
    this.#releaseFile(file);
  }

  /** Takes the delegation away. Its stateid stays known as revoked until the client frees it, which NFSv4.0 cannot. */
  revokeDelegation(delegation: Delegation): void {
    if (delegation.client.minorVersion === 0) {
      this.#rememberExpired(delegation);
      this.removeDelegation(delegation);
      return;
    }
    this.removeDelegation(delegation, true);
    delegation.revoked = true;
    delegation.client.revoked.add(delegation);
  }

  freeRevoked(delegation: Delegation): void {
    delegation.client.revoked.delete(delegation);
    this.states.remove(delegation);
  }

  release(client: Client, expired: boolean): void {
    for (const owner of [...client.openOwners.values()]) {
      for (const open of [...owner.opens.values()]) {
        if (expired) {
          for (const state of [open, ...(open.lockStates ?? [])]) {
            this.#rememberExpired(state);
          }
        }
        this.close(open);
      }
    }
    for (const delegation of [...client.delegations]) {
      if (expired) {
        this.#rememberExpired(delegation);
      }
      this.removeDelegation(delegation);
    }
    for (const delegation of client.revoked) {
      this.states.remove(delegation);
    }
    client.revoked.clear();
    client.openOwners.clear();
    client.lockOwners.clear();
  }
}

const MAXIMUM_REMEMBERED = 4096;

/** Drops the oldest entry when there are too many. */
function trim(remembered: Set<number> | Map<number, unknown>): void {
  if (remembered.size > MAXIMUM_REMEMBERED) {
    remembered.delete(remembered.keys().next().value!);
  }
}

function closedKey(index: number, generation: number): number {
  return index * 0x10_0000 + (generation & 0xf_ffff);
}

/** A handle as a Map key. */
export function handleKey(handle: Uint8Array): string {
  return Buffer.from(handle.buffer, handle.byteOffset, handle.length).toString("latin1");
}
