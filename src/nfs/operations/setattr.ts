import { SETTABLE_LATER, writeBitmap } from "../attributes/bitmap.ts";
import type { ChangeRequest } from "../attributes/decode.ts";
import { changeable } from "../compound/changeable.ts";
import type { Compound } from "../compound/compound.ts";
import { checkIo, isSameNode } from "../compound/io.ts";
import { resolveStateid } from "../compound/stateid.ts";
import { heldTimes } from "../delegations/delegated-attributes.ts";
import { type Attributes, FileType, type Node } from "../file-system.ts";
import { Permission, permissions } from "../permissions/access.ts";
import { addSetIdChanges, checkChanges } from "../permissions/ownership.ts";
import { Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { Delegation } from "../state/records.ts";

/** RFC 8881 §18.30. */
export async function setattr(compound: Compound): Promise<Status> {
  const { node, stateid, changeRequest } = compound;
  stateid.read(compound.reader);
  const decoded = changeRequest.read(compound.reader, compound.minorVersion, SETTABLE_LATER);
  if (node === undefined) {
    return refuse(compound, Status.NOFILEHANDLE);
  }
  if (decoded !== Status.OK) {
    return refuse(compound, decoded);
  }
  const { changes } = changeRequest;
  let openForWriting = false;
  if (changes.size !== undefined) {
    if (node.type === FileType.DIRECTORY) {
      return refuse(compound, Status.ISDIR);
    }
    if (node.type !== FileType.REGULAR) {
      return refuse(compound, Status.INVAL);
    }
    const status = checkIo(compound, node, Share.WRITE);
    if (status !== Status.OK) {
      return refuse(compound, status);
    }
    openForWriting = stateid.state !== undefined;
  } else if (!stateid.isSpecial) {
    const status = resolveStateid(compound);
    if (status !== Status.OK) {
      return refuse(compound, status);
    }
  }
  if (changeRequest.word2 !== 0) {
    const status = checkHolder(compound, node);
    if (status !== Status.OK) {
      return refuse(compound, status);
    }
  }
  const { credentials } = compound;
  const attributes = node.attributes();
  const mayWrite =
    openForWriting || (permissions(node.type, attributes, credentials) & Permission.WRITE) !== 0;
  const permitted = checkChanges(attributes, credentials, changes, mayWrite);
  if (permitted !== Status.OK) {
    return refuse(compound, permitted);
  }
  if (node.type === FileType.REGULAR && !setsTimesOnly(changeRequest)) {
    const recalled = await compound.context.delegations.recalledForChange(compound.caller, node);
    if (recalled !== Status.OK) {
      return refuse(compound, recalled);
    }
  }
  addSetIdChanges(node.type, attributes, credentials, changes);
  const { word0, word1, word2 } = changeRequest;
  if (word2 === 0 || addKeptTimes(compound, attributes)) {
    compound.node = changeable(compound.context.state, node);
    await compound.node.setAttributes(changes);
  }
  writeBitmap(compound.writer, word0, word1, word2);
  return Status.OK;
}

/** Only the holder of a delegation that lets it keep the times may set them (RFC 9754 §5). */
function checkHolder({ stateid, changeRequest }: Compound, node: Node): Status {
  const { state } = stateid;
  if (!(state instanceof Delegation) || !state.timestamps) {
    return Status.BAD_STATEID;
  }
  if (!isSameNode(state.file.node, node)) {
    return Status.BAD_STATEID;
  }
  return changeRequest.heldModifyTime !== undefined && state.type !== Share.WRITE
    ? Status.OPENMODE
    : Status.OK;
}

/** Whether it sets only times kept by a delegation's holder, which for other holders is no change. */
function setsTimesOnly({ word0, word1, word2 }: ChangeRequest): boolean {
  return word2 !== 0 && word0 === 0 && word1 === 0;
}

/** Adds the times kept by the holder to the changes. False if there is then nothing to change. */
function addKeptTimes({ stateid, changeRequest }: Compound, attributes: Attributes): boolean {
  const { changes, heldAccessTime, heldModifyTime } = changeRequest;
  const kept = heldTimes(stateid.state as Delegation, attributes, heldAccessTime, heldModifyTime);
  Object.assign(changes, kept);
  if (setsTimesOnly(changeRequest)) {
    return kept !== undefined;
  }
  // Other attributes change too, and they change now, whatever the times.
  delete changes.metadataTime;
  return true;
}

/** SETATTR4res has a bitmap even if nothing was set. */
function refuse(compound: Compound, status: Status): Status {
  compound.writer.uint32(0);
  return status;
}
