import type { Compound } from "../compound/compound.ts";
import { isSameNode, notAFile, tooMany } from "../compound/io.ts";
import { checkOwnerSeqid } from "../compound/owner-seqid.ts";
import { resolveStateid, writeStateid } from "../compound/stateid.ts";
import { FileType } from "../file-system.ts";
import { LockType } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { removeLock, splitsLock } from "../state/locks.ts";
import { LockState } from "../state/records.ts";

/** RFC 8881 §18.12. */
export function locku(compound: Compound): Status {
  const { reader, node, stateid, lockRange, context } = compound;
  const type = reader.uint32();
  const seqid = reader.uint32();
  stateid.read(compound.reader);
  const ranged = lockRange.read(reader);
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (node.type !== FileType.REGULAR) {
    return notAFile(node, compound.minorVersion);
  }
  if (type < LockType.READ || type > LockType.WRITE_BLOCKING) {
    return Status.BADXDR;
  }
  if (compound.minorVersion === 0) {
    const owner = context.state.findLockOwner(stateid);
    if (owner !== undefined) {
      const ordered = checkOwnerSeqid(compound, owner, seqid);
      if (ordered !== Status.OK) {
        return ordered;
      }
    }
  }
  const status = resolveStateid(compound);
  if (status !== Status.OK) {
    return status;
  }
  const { state } = stateid;
  if (!(state instanceof LockState) || !isSameNode(state.file.node, node)) {
    return Status.BAD_STATEID;
  }
  if (ranged !== Status.OK) {
    return ranged;
  }
  const { start, end } = lockRange;
  if (splitsLock(state, start, end) && !context.state.mayAddLock(state.client)) {
    return tooMany(compound);
  }
  removeLock(state, start, end);
  context.state.locksGone(state.file);
  state.advance();
  writeStateid(compound, state);
  return Status.OK;
}
