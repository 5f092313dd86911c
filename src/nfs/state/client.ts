import type { CallbackProgram } from "../callback/callback-program.ts";
import type { LockOwner, OpenOwner } from "./owners.ts";
import type { Session } from "./session.ts";
import type { Delegation } from "./states.ts";

const MAXIMUM_IDLE_OWNERS = 1024;

/** A client record: what EXCHANGE_ID or SETCLIENTID made, and all state under it. */
export class Client {
  /** Low half of the clientid; the high half tells the server's instances apart. */
  readonly id: number;
  /** co_ownerid or nfs_client_id4.id. */
  readonly owner: string;
  readonly verifierHigh: number;
  readonly verifierLow: number;
  /** Who made the record; only the same may replace it. */
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

  constructor(
    id: number,
    owner: string,
    verifierHigh: number,
    verifierLow: number,
    principal: string,
    minorVersion: number,
    now: number,
  ) {
    this.id = id;
    this.owner = owner;
    this.verifierHigh = verifierHigh;
    this.verifierLow = verifierLow;
    this.principal = principal;
    this.minorVersion = minorVersion;
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
