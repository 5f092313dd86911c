import type { Compound } from "../compound/compound.ts";
import { notAFile } from "../compound/io.ts";
import { FileType } from "../file-system.ts";
import { LockType, MAXIMUM_OPAQUE } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { findConflict } from "../state/locks.ts";
import { writeDenied } from "./lock.ts";

/** RFC 8881 §18.11. */
export function lockt(compound: Compound): Status {
  const { reader, node, lockRange, context } = compound;
  const type = reader.uint32();
  const ranged = lockRange.read(reader);
  const clientHigh = reader.uint32();
  const clientLow = reader.uint32();
  const ownerKey = reader.latin1(MAXIMUM_OPAQUE);
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (node.type !== FileType.REGULAR) {
    return notAFile(node, compound.minorVersion);
  }
  if (type < LockType.READ || type > LockType.WRITE_BLOCKING) {
    return Status.BADXDR;
  }
  if (ranged !== Status.OK) {
    return ranged;
  }
  let { client } = compound;
  if (compound.minorVersion === 0) {
    client = context.state.clients.find(clientHigh, clientLow);
    if (client === undefined || !client.confirmed) {
      return Status.STALE_CLIENTID;
    }
    client.renewedAt = context.state.now;
  }
  const owner = client!.lockOwners.get(ownerKey);
  const file = context.state.findFile(node);
  if (file === undefined) {
    return Status.OK;
  }
  const write = type === LockType.WRITE || type === LockType.WRITE_BLOCKING;
  let conflict = findConflict(file, owner, lockRange.start, lockRange.end, write);
  while (conflict !== undefined && context.state.clients.resolveConflict(conflict.state.client)) {
    conflict = findConflict(file, owner, lockRange.start, lockRange.end, write);
  }
  if (conflict === undefined) {
    return Status.OK;
  }
  writeDenied(compound.writer, conflict, context.state.instance);
  return Status.DENIED;
}
