import { randomBytes } from "node:crypto";
import { BackChannel, type ChannelAttributes } from "../callback/back-channel.ts";
import type { Limits } from "../limits.ts";
import { Status } from "../protocol/status.ts";
import { Client, type ClientIdentity, Session } from "./records.ts";

/** How many client records that ended with their lease are remembered as such. */
const MAXIMUM_REMEMBERED = 4096;
/** For how many lease times a silent client keeps what nobody else wants. */
const COURTESY_LEASES = 20;

/** What CREATE_SESSION says of the back channel. */
export interface BackChannelArguments {
  readonly attributes: ChannelAttributes;
  readonly program: number;
  /** opaque_auth. */
  readonly credential: Buffer;
}

/** What clients hold, and the server's clock. */
export interface ClientStates {
  readonly instance: number;
  readonly leaseMilliseconds: number;
  readonly now: number;
  /** Ends all that the client holds; `expired`: because of its silence or restart, not at its request. */
  release(client: Client, expired: boolean): void;
}

/** Client records and sessions of one server: how they begin and end. */
export class Clients {
  readonly #states: ClientStates;
  readonly #limits: Limits;
  readonly #onRemoved: (client: Client) => void;
  readonly #records = new Map<number, Client>();
  /** By owner, separately for NFSv4.0 and later versions. */
  readonly #confirmed = new Map<string, Client>();
  readonly #unconfirmed = new Map<string, Client>();
  readonly #sessions = new Map<string, Session>();
  #nextClientId = 1;
  #nextConfirm = 1;
  /** The last {@link MAXIMUM_REMEMBERED} records that ended with their lease. */
  readonly #expired = new Set<number>();

  /** `onRemoved` is called with each client whose record has ended. */
  constructor(states: ClientStates, limits: Limits, onRemoved: (client: Client) => void) {
    this.#states = states;
    this.#limits = limits;
    this.#onRemoved = onRemoved;
  }

  get count(): number {
    return this.#records.size;
  }

  clear(): void {
    for (const client of [...this.#records.values()]) {
      this.remove(client);
    }
  }

  /** The confirmed record, or the one that waits to be. */
  findByOwner(minorVersion: number, owner: string, confirmed: boolean): Client | undefined {
    return (confirmed ? this.#confirmed : this.#unconfirmed).get(ownerKey(minorVersion, owner));
  }

  find(high: number, low: number): Client | undefined {
    return high === this.#states.instance ? this.#records.get(low) : undefined;
  }

  /** Whether the record has not ended. */
  isCurrent(client: Client): boolean {
    return this.#records.get(client.id) === client;
  }

  /** NFSv4.0: why there is no such client: EXPIRED if its lease ran out, else STALE_CLIENTID. */
  whyNone(high: number, low: number): Status {
    return high === this.#states.instance && this.#expired.has(low) ? Status.EXPIRED : Status.STALE_CLIENTID;
  }

  /**
   * Adds an unconfirmed record, in place of any other unconfirmed one of that owner. undefined if there is no room
   * for it.
   */
  add(identity: ClientIdentity): Client | undefined {
    const { minorVersion, owner } = identity;
    const key = ownerKey(minorVersion, owner);
    const replaced = this.#unconfirmed.get(key);
    if (replaced !== undefined) {
      this.remove(replaced);
    }
    if (this.#records.size >= this.#limits.maximumClients && !this.#makeRoom()) {
      return undefined;
    }
    const id = this.#nextClientId++;
    const client = new Client(id, identity, this.#states.now);
    this.#records.set(id, client);
    this.#unconfirmed.set(key, client);
    return client;
  }

  /** Ends the oldest unconfirmed record, or else, of those whose lease has run out, the one silent longest. */
  #makeRoom(): boolean {
    const unconfirmed = this.#unconfirmed.values().next().value;
    if (unconfirmed !== undefined) {
      this.remove(unconfirmed);
      return true;
    }
    let oldest: Client | undefined;
    for (const client of this.#records.values()) {
      if (!this.isExpired(client) || isBusy(client)) {
        continue;
      }
      if (oldest === undefined || client.renewedAt < oldest.renewedAt) {
        oldest = client;
      }
    }
    if (oldest === undefined) {
      return false;
    }
    this.#expire(oldest);
    return true;
  }

  /** Whether the client may have another session. */
  mayAddSession(client: Client): boolean {
    return client.sessions.size < this.#limits.maximumSessionsPerClient;
  }

  /** Makes the record its owner's only one: an earlier confirmed one ends with all its state. */
  confirm(client: Client): void {
    if (client.confirmed) {
      return;
    }
    const key = ownerKey(client.minorVersion, client.owner);
    const previous = this.#confirmed.get(key);
    if (previous !== undefined && previous !== client) {
      this.#expire(previous);
    }
    if (this.#unconfirmed.get(key) === client) {
      this.#unconfirmed.delete(key);
    }
    client.confirmed = true;
    this.#confirmed.set(key, client);
  }

  /** NFSv4.0: chooses the verifier that SETCLIENTID_CONFIRM must return. */
  chooseConfirm(client: Client): void {
    client.confirmHigh = this.#states.instance;
    client.confirmLow = this.#nextConfirm++;
  }

  /** NFSv4.0: `update` has been confirmed and gives `client` its callback. */
  updateCallback(client: Client, update: Client): void {
    client.callbackProgram = update.callbackProgram;
    client.callbackNetid = update.callbackNetid;
    client.callbackAddress = update.callbackAddress;
    client.callbackIdent = update.callbackIdent;
    client.confirmHigh = update.confirmHigh;
    client.confirmLow = update.confirmLow;
    this.remove(update);
  }

  /** Ends the record with its sessions and all its state. */
  remove(client: Client): void {
    this.#end(client, false);
  }

  /** Ends the client, but remembers that it lost its state by silence or restart. */
  #expire(client: Client): void {
    this.#expired.add(client.id);
    if (this.#expired.size > MAXIMUM_REMEMBERED) {
      this.#expired.delete(this.#expired.values().next().value!);
    }
    this.#end(client, true);
  }

  #end(client: Client, expired: boolean): void {
    this.#states.release(client, expired);
    client.callback?.close();
    for (const session of client.sessions) {
      this.removeSession(session);
    }
    const key = ownerKey(client.minorVersion, client.owner);
    if (this.#confirmed.get(key) === client) {
      this.#confirmed.delete(key);
    }
    if (this.#unconfirmed.get(key) === client) {
      this.#unconfirmed.delete(key);
    }
    this.#records.delete(client.id);
    this.#onRemoved(client);
  }

  isExpired(client: Client): boolean {
    return this.#states.now - client.renewedAt > this.#states.leaseMilliseconds;
  }

  /**
   * Ends clients that have long been silent. One whose lease has merely run out keeps its state as a
   * courtesy until somebody else wants what it holds; see {@link resolveConflict}.
   */
  sweep(): void {
    for (const client of this.#records.values()) {
      const silent = this.#states.now - client.renewedAt;
      const idle = client.sessions.size === 0 && !client.hasState;
      const allowance = !client.confirmed || idle ? 1 : COURTESY_LEASES;
      if (silent > allowance * this.#states.leaseMilliseconds && !isBusy(client)) {
        this.#expire(client);
      }
    }
  }

  /** True if the lease of `holder` had run out: its state is then gone. */
  resolveConflict(holder: Client): boolean {
    if (!this.isExpired(holder) || isBusy(holder)) {
      return false;
    }
    this.#expire(holder);
    return true;
  }

  // Sessions

  /** `minorVersion` is that of CREATE_SESSION; calls on the back channel carry it as well. */
  addSession(
    client: Client,
    minorVersion: number,
    fore: ChannelAttributes,
    back: BackChannelArguments,
  ): Session {
    const id = randomBytes(16);
    const channel = new BackChannel(id, minorVersion, back.attributes, back.program, back.credential);
    const session = new Session(client, id, fore, channel);
    this.#sessions.set(session.key, session);
    client.sessions.add(session);
    return session;
  }

  findSession(key: string): Session | undefined {
    return this.#sessions.get(key);
  }

  removeSession(session: Session): void {
    session.destroyed = true;
    this.#sessions.delete(session.key);
    session.client.sessions.delete(session);
    for (const connection of session.connections) {
      connection.forgetSession(session);
    }
    session.connections.clear();
    session.backChannel.close();
  }
}

function isBusy(client: Client): boolean {
  for (const session of client.sessions) {
    if (session.active > 0) {
      return true;
    }
  }
  return false;
}

function ownerKey(minorVersion: number, owner: string): string {
  return minorVersion === 0 ? `0${owner}` : `1${owner}`;
}
