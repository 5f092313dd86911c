import { Status } from "../protocol/status.ts";
import { type LockOwner, type OpenOwner, OwnerSequence } from "../state/records.ts";
import type { Compound } from "./compound.ts";
import { REPLAYED_OPERATION } from "./kept-replies.ts";

/**
 * Checks the seqid of an NFSv4.0 open or lock owner (RFC 7530 §9.1.7): OK for the next request, whose result will be
 * kept; REPLAYED_OPERATION for a repetition of the last; BAD_SEQID for any other. NFSv4.1 ignores the seqid.
 */
export function checkOwnerSeqid(compound: Compound, owner: OpenOwner | LockOwner, seqid: number): Status {
  if (compound.minorVersion > 0) {
    return Status.OK;
  }
  owner.sequence ??= new OwnerSequence();
  const sequence = owner.sequence;
  if (sequence.busy) {
    return Status.DELAY;
  }
  if (sequence.started) {
    if (seqid === sequence.seqid && sequence.reply !== undefined) {
      compound.replay = sequence.reply;
      compound.node = sequence.replyNode ?? compound.node;
      return REPLAYED_OPERATION;
    }
    if (seqid !== (sequence.seqid + 1) >>> 0) {
      return Status.BAD_SEQID;
    }
  }
  sequence.seqid = (seqid - 1) >>> 0;
  sequence.busy = true;
  compound.ownerSequence = sequence;
  return Status.OK;
}
