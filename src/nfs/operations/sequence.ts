import { crc32 } from "node:zlib";
import type { Compound, CompoundConnection } from "../compound/compound.ts";
import { NO_REPLY, REPLAYED_COMPOUND } from "../compound/kept-replies.ts";
import { SequenceStatus } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import type { Session, Slot } from "../state/records.ts";

/** RFC 8881 §18.46. */
export function sequence(compound: Compound): Status {
  const { reader, writer, context, connection } = compound;
  const id = reader.skip(16);
  const sequenceid = reader.uint32();
  const slotid = reader.uint32();
  const highestSlotid = reader.uint32();
  const cacheThis = reader.bool();
  if (compound.index !== 0) {
    return Status.SEQUENCE_POS;
  }
  const session = find(connection, compound, id);
  if (session === undefined) {
    return Status.BADSESSION;
  }
  const { client, fore } = session;
  if (slotid >= fore.maxRequests) {
    return Status.BADSLOT;
  }
  if (highestSlotid < slotid) {
    return Status.BAD_HIGH_SLOT;
  }
  const slot = session.slot(slotid);
  const solo = compound.count === 1;
  if (sequenceid === slot.sequenceid) {
    return retry(compound, slot, cacheThis || solo);
  }
  if (sequenceid !== (slot.sequenceid + 1) >>> 0 || slot.busy) {
    return Status.SEQ_MISORDERED;
  }
  if (compound.requestLength > fore.maxRequestSize) {
    return Status.REQ_TOO_BIG;
  }
  if (compound.count > fore.maxOperations) {
    return Status.TOO_MANY_OPS;
  }

  if (!session.connections.has(connection)) {
    connection.addSession(session);
  }
  client.renewedAt = context.state.now;
  slot.sequenceid = sequenceid;
  slot.busy = true;
  slot.reply = undefined;
  slot.retryConnection = undefined;
  session.active++;
  compound.session = session;
  compound.client = client;
  compound.slot = slot;
  compound.cacheReply = cacheThis || solo;
  compound.admitted = context.gate === undefined || client.admitted;
  slot.requestLength = reader.remaining;
  slot.principal = compound.principal;
  slot.checksummed = compound.cacheReply;
  if (slot.checksummed) {
    slot.requestChecksum = checksum(compound);
  }

  writer.fixed(session.id);
  writer.uint32(sequenceid);
  writer.uint32(slotid);
  writer.uint32(fore.maxRequests - 1);
  writer.uint32(fore.maxRequests - 1);
  writer.uint32(statusFlags(session));
  return Status.OK;
}

/** SEQ4_STATUS_*: what the client should attend to. */
function statusFlags({ client, backChannel }: Session): number {
  let flags = 0;
  if (client.revoked.size > 0) {
    flags |= SequenceStatus.RECALLABLE_STATE_REVOKED;
  }
  if (backChannel.fault) {
    flags |= SequenceStatus.BACKCHANNEL_FAULT;
  }
  if (backChannel.isLost) {
    flags |= SequenceStatus.CB_PATH_DOWN_SESSION;
  }
  return flags;
}

/** Most requests of a connection belong to one session. */
function find(connection: CompoundConnection, compound: Compound, at: number): Session | undefined {
  const { buffer } = compound.reader;
  const last = connection.session;
  if (last !== undefined && compound.reader.matches(at, last.idWords)) {
    return last;
  }
  const session = compound.context.state.clients.findSession(buffer.toString("latin1", at, at + 16));
  if (session !== undefined) {
    connection.session = session;
  }
  return session;
}

function retry(compound: Compound, slot: Slot, cached: boolean): Status {
  if (slot.sequenceid === 0) {
    return Status.SEQ_MISORDERED;
  }
  if (isFalse(compound, slot)) {
    return Status.SEQ_FALSE_RETRY;
  }
  if (slot.busy) {
    slot.retryConnection = compound.connection;
    slot.retryXid = compound.xid;
    return NO_REPLY;
  }
  // No reply was kept (RFC 8881 §2.10.6.1.3); a retry that now asks for it to be kept is a different request.
  if (slot.reply === undefined) {
    return cached ? Status.SEQ_FALSE_RETRY : Status.RETRY_UNCACHED_REP;
  }
  compound.replay = slot.reply;
  return REPLAYED_COMPOUND;
}

/** Whether this is recognizably not the slot's last request (RFC 8881 §2.10.6.1.3.1). */
function isFalse(compound: Compound, slot: Slot): boolean {
  if (slot.requestLength !== compound.reader.remaining || slot.principal !== compound.principal) {
    return true;
  }
  return slot.checksummed && slot.requestChecksum !== checksum(compound);
}

/** Of all that follows SEQUENCE; the xid, which a retry may change, comes before. */
function checksum(compound: Compound): number {
  const { reader } = compound;
  return crc32(reader.buffer.subarray(reader.position, reader.end));
}
