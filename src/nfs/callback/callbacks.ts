import { type XdrReader, XdrWriter } from "../../xdr/index.ts";
import type { Connection } from "../connection.ts";
import { RpcMessageType, SequenceStatus } from "../protocol/constants.ts";
import type { Client } from "../state/client.ts";
import type { Session } from "../state/session.ts";
import type { Delegation } from "../state/states.ts";

const CALLBACK_VERSION = 1;
const CB_COMPOUND = 1;
const CB_RECALL = 4;
const CB_SEQUENCE = 11;

interface PendingCall {
  readonly session: Session;
  readonly connection: Connection;
  readonly delegation: Delegation;
}

/**
 * The server's calls to its clients, by the back channel of their sessions (RFC 8881 §2.10.3.1, §20): one at a
 * time on each, in the first slot.
 */
export class Callbacks {
  private readonly pending = new Map<number, PendingCall>();
  private nextXid = 1;
  /** High half of the server's stateids. */
  private readonly instance: number;

  constructor(instance: number) {
    this.instance = instance;
  }

  /** Asks the client to return the delegation. Without a back channel the time to return it still runs. */
  recall(delegation: Delegation): void {
    for (const session of delegation.client.sessions) {
      if (session.backConnections.size === 0) continue;
      session.recalls.push(delegation);
      this.sendNext(session);
      return;
    }
  }

  /** A reply to a callback arrived. What it says does not matter: the client returns the delegation or loses it. */
  reply(connection: Connection, xid: number, _reader: XdrReader): void {
    const call = this.pending.get(xid);
    if (call === undefined || call.connection !== connection) return;
    this.pending.delete(xid);
    call.session.backSequence = (call.session.backSequence + 1) >>> 0;
    call.session.backBusy = false;
    this.sendNext(call.session);
  }

  /** The connection has ended: calls that went out on it go out again on another. */
  forget(connection: Connection): void {
    for (const [xid, { session, connection: used, delegation }] of this.pending) {
      if (used !== connection) continue;
      this.pending.delete(xid);
      session.backBusy = false;
      session.recalls.unshift(delegation);
      this.sendNext(session);
    }
  }

  /** SEQ4_STATUS_* of a SEQUENCE reply. */
  statusFlags(client: Client, session: Session): number {
    let flags = 0;
    if (client.revoked.size > 0) flags |= SequenceStatus.RECALLABLE_STATE_REVOKED;
    if (client.delegations.size > 0 && session.backConnections.size === 0) {
      flags |= SequenceStatus.CB_PATH_DOWN_SESSION;
    }
    return flags;
  }

  /** Sends the session's next recall, when none is under way and a connection is there. */
  sendNext(session: Session): void {
    if (session.backBusy || session.destroyed) return;
    const connection = session.backConnections.values().next().value;
    if (connection === undefined) return;
    const delegation = session.recalls.shift();
    if (delegation === undefined) return;
    session.backBusy = true;
    const xid = this.nextXid++ >>> 0;
    this.pending.set(xid, { session, connection, delegation });
    connection.enqueue(this.encodeRecall(xid, session, delegation));
  }

  private encodeRecall(xid: number, session: Session, delegation: Delegation): Uint8Array {
    const writer = new XdrWriter(512);
    writer.uint32(0);
    writer.uint32(xid);
    writer.uint32(RpcMessageType.CALL);
    writer.uint32(2);
    writer.uint32(session.callbackProgram);
    writer.uint32(CALLBACK_VERSION);
    writer.uint32(CB_COMPOUND);
    writer.raw(session.callbackCredential);
    writer.uint32(0);
    writer.uint32(0);
    // CB_COMPOUND4args: tag, minor version, callback_ident (of NFSv4.0 only), the operations.
    writer.uint32(0);
    writer.uint32(session.minorVersion);
    writer.uint32(0);
    writer.uint32(2);
    writer.uint32(CB_SEQUENCE);
    writer.fixed(session.id);
    writer.uint32(session.backSequence);
    writer.uint32(0);
    writer.uint32(0);
    writer.bool(false);
    writer.uint32(0);
    writer.uint32(CB_RECALL);
    writer.uint32(delegation.seqid);
    writer.uint32(this.instance);
    writer.uint32(delegation.index);
    writer.uint32(delegation.generation);
    writer.bool(false);
    writer.opaque(delegation.file.node.handle);
    writer.patch(0, (0x8000_0000 | (writer.position - 4)) >>> 0);
    return writer.buffer.subarray(0, writer.position);
  }
}
