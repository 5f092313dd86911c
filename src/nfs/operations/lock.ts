import type { XdrWriter } from "../../xdr/index.ts";
import type { Compound } from "../compound/compound.ts";
import { isSameNode, notAFile, tooMany } from "../compound/io.ts";
import { checkOwnerSeqid } from "../compound/owner-seqid.ts";
import { resolveStateid, writeStateid } from "../compound/stateid.ts";
import { FileType } from "../file-system.ts";
import { LockType, MAXIMUM_OPAQUE, Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { minus } from "../state/lock-offset.ts";
import { addWaiter, removeWaiter } from "../state/lock-waiters.ts";
import { addLock, findConflict } from "../state/locks.ts";
import { type ByteRangeLock, type LockOwner, LockState, OpenState } from "../state/records.ts";

/** RFC 8881 §18.10. A lock that would have to wait is denied; the client asks again, at the latest when told to. */
export function lock(compound: Compound): Status {
  const { reader, node, stateid, lockRange, context } = compound;
  const type = reader.uint32();
  const reclaim = reader.bool();
  const ranged = lockRange.read(reader);
  const isNewOwner = reader.bool();
  let openSeqid = 0;
  let lockSeqid: number;
  let clientHigh = 0;
  let clientLow = 0;
  let ownerKey = "";
  if (isNewOwner) {
    openSeqid = reader.uint32();
    stateid.read(compound.reader);
    lockSeqid = reader.uint32();
    clientHigh = reader.uint32();
    clientLow = reader.uint32();
    ownerKey = reader.latin1(MAXIMUM_OPAQUE);
  } else {
    stateid.read(compound.reader);
    lockSeqid = reader.uint32();
  }
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (node.type !== FileType.REGULAR) {
    return notAFile(node, compound.minorVersion);
  }
  if (type < LockType.READ || type > LockType.WRITE_BLOCKING) {
    return Status.BADXDR;
  }
  const write = type === LockType.WRITE || type === LockType.WRITE_BLOCKING;

  let open: OpenState;
  // An unknown owner is recorded with its first lock only: those that are denied must not pile up.
  let owner: LockOwner | undefined;
  if (isNewOwner) {
    if (compound.minorVersion === 0) {
      if (context.state.clients.find(clientHigh, clientLow) === undefined) {
        return Status.STALE_CLIENTID;
      }
      const openOwner = context.state.findOpenOwner(stateid);
      if (openOwner !== undefined) {
        const ordered = checkOwnerSeqid(compound, openOwner, openSeqid);
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
    if (!(state instanceof OpenState) || !isSameNode(state.file.node, node)) {
      return Status.BAD_STATEID;
    }
    open = state;
    owner = open.client.lockOwners.get(ownerKey);
    if (compound.minorVersion === 0 && owner?.states.has(open.file) === true) {
      // RFC 7530 §16.10.5: an owner already known on the file is not new.
      if (owner.sequence !== undefined && lockSeqid !== (owner.sequence.seqid + 1) >>> 0) {
        return Status.BAD_SEQID;
      }
    }
  } else {
    if (compound.minorVersion === 0) {
      const known = context.state.findLockOwner(stateid);
      if (known !== undefined) {
        const ordered = checkOwnerSeqid(compound, known, lockSeqid);
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
    open = state.open;
    owner = state.owner;
    ownerKey = owner.key;
  }

  if (reclaim) {
    return Status.NO_GRACE;
  }
  if (compound.minorVersion > 0 && !compound.client!.reclaimComplete) {
    return Status.GRACE;
  }
  if (ranged !== Status.OK) {
    return ranged;
  }
  if ((open.access & (write ? Share.WRITE : Share.READ)) === 0) {
    return Status.OPENMODE;
  }
  const { start, end } = lockRange;
  let conflict = findConflict(open.file, owner, start, end, write);
  while (conflict !== undefined && context.state.clients.resolveConflict(conflict.state.client)) {
    conflict = findConflict(open.file, owner, start, end, write);
  }
  if (conflict !== undefined) {
    const waits = type === LockType.READ_BLOCKING || type === LockType.WRITE_BLOCKING;
    if (waits && compound.minorVersion > 0) {
      addWaiter(open.file, { client: open.client, ownerKey, start, end, write });
    }
    writeDenied(compound.writer, conflict, context.state.instance);
    return Status.DENIED;
  }
  if (!context.state.mayAddLock(open.client)) {
    return tooMany(compound);
  }
  owner ??= context.state.lockOwner(open.client, ownerKey);
  const state = context.state.lockState(open, owner);
  addLock(state, start, end, write);
  removeWaiter(open.file, open.client, ownerKey);
  // A downgrade lets others read.
  if (!write) {
    context.state.locksGone(open.file);
  }
  state.advance();
  if (isNewOwner) {
    context.state.startLockOwner(owner, lockSeqid);
  }
  writeStateid(compound, state);
  return Status.OK;
}

/** Appends LOCK4denied. */
export function writeDenied(writer: XdrWriter, conflict: ByteRangeLock, instance: number): void {
  writer.exactUint64(conflict.start);
  if (conflict.end === Number.POSITIVE_INFINITY) {
    writer.uint32(0xffff_ffff);
    writer.uint32(0xffff_ffff);
  } else {
    writer.exactUint64(minus(conflict.end, conflict.start));
  }
  writer.uint32(conflict.write ? LockType.WRITE : LockType.READ);
  writer.uint32(instance);
  writer.uint32(conflict.state.client.id);
  writer.latin1(conflict.state.owner.key);
}
