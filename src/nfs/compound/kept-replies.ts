import { crc32 } from "node:zlib";
import { Operation } from "../protocol/operation.ts";
import { Status } from "../protocol/status.ts";
import type { Slot } from "../state/records.ts";
import type { Compound } from "./compound.ts";

/*
 * How retries are answered: NFSv4.1 keeps replies in the slots of sessions (RFC 8881 §2.10.6); NFSv4.0 keeps them in
 * a table of recent requests, and the result of an owner's last operation with its seqid (RFC 7530 §9.1.7).
 * Below, a negative "status" means that the answer is {@link Compound.replay}, or none at all.
 */

/** The request is a retry: the whole reply is {@link Compound.replay}. */
export const REPLAYED_COMPOUND = -1;
/** The request is a retry of one that is still being served: the slot will answer it. */
export const NO_REPLY = -2;
/** By its NFSv4.0 owner's seqid, the operation is a retry: its result is {@link Compound.replay}. */
export const REPLAYED_OPERATION = -3;

/** The longest NFSv4.0 reply that is kept for a retry, in bytes. */
const MAXIMUM_KEPT_REPLY = 8 * 1024;
/** Statuses with which an NFSv4.0 request fails without using up the owner's seqid (RFC 7530 §9.1.7). */
const KEEPS_SEQID: ReadonlySet<Status> = new Set([
  Status.STALE_CLIENTID,
  Status.STALE_STATEID,
  Status.BAD_STATEID,
  Status.BAD_SEQID,
  Status.BADXDR,
  Status.RESOURCE,
  Status.NOFILEHANDLE,
]);

/** NFSv4.0: operations that a retry must not repeat. Owners' seqids see to the others. */
export const NOT_IDEMPOTENT: ReadonlySet<number> = new Set([
  Operation.CREATE,
  Operation.LINK,
  Operation.REMOVE,
  Operation.RENAME,
  Operation.SETATTR,
  Operation.WRITE,
]);

/** NFSv4.0: OK for a new request, which is recorded in case it is retried; else what a retry gets. */
export function beginUnsequenced(compound: Compound): Status {
  const { reader } = compound;
  const request = reader.buffer.subarray(reader.position, reader.end);
  const slot = compound.context.state.duplicates.find(compound.xid, crc32(request));
  if (slot.busy) {
    slot.retryConnection = compound.connection;
    slot.retryXid = compound.xid;
    return NO_REPLY;
  }
  if (slot.reply !== undefined) {
    compound.replay = slot.reply;
    return REPLAYED_COMPOUND;
  }
  slot.busy = true;
  compound.slot = slot;
  return Status.OK;
}

/** NFSv4.0: an operation with an owner's seqid is over; its result begins at `operationAt`. */
export function completeOwner(compound: Compound, status: Status, operationAt: number): void {
  const sequence = compound.ownerSequence;
  if (sequence === undefined) {
    return;
  }
  compound.ownerSequence = undefined;
  sequence.busy = false;
  if (KEEPS_SEQID.has(status)) {
    return;
  }
  const { writer } = compound;
  sequence.seqid = (sequence.seqid + 1) >>> 0;
  sequence.started = true;
  sequence.reply = copyOf(
    [writer.buffer.subarray(operationAt, writer.position)],
    writer.position - operationAt,
  );
  // Only OPEN sets the current filehandle; kept for others, it would keep a removed file's content in memory.
  sequence.replyNode = sequence.reply.readUInt32BE() === Operation.OPEN ? compound.node : undefined;
}

/**
 * The `length` bytes of COMPOUND4res from `resultsAt` on answer the request: keeps them for a later retry, and answers
 * one that has already come.
 */
export function completeSlot(compound: Compound, slot: Slot, resultsAt: number, length: number): void {
  const { session, cacheReply } = compound;
  slot.busy = false;
  if (session !== undefined) {
    session.active--;
    session.client.renewedAt = compound.context.state.now;
  }
  if (!cacheReply && slot.retryConnection === undefined) {
    return;
  }
  const reply = copyOf(compound.writer.segments(resultsAt), length);
  if (slot.retryConnection !== undefined) {
    slot.retryConnection.sendReply(slot.retryXid, reply);
    slot.retryConnection = undefined;
  }
  // A session has agreed with its client on how long such a reply may be.
  if (cacheReply && (session !== undefined || length <= MAXIMUM_KEPT_REPLY)) {
    slot.reply = reply;
  }
}

/** In memory of its own: a part of Node's pool, kept for as long as a reply may be, would keep all 64 KiB of it. */
function copyOf(segments: readonly Uint8Array[], length: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(length);
  let at = 0;
  for (const segment of segments) {
    copy.set(segment, at);
    at += segment.length;
  }
  return copy;
}
