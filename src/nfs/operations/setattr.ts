import { andThen, Permission, permissions } from "../access.ts";
import { writeBitmap } from "../attributes/encode.ts";
import type { Compound } from "../compound.ts";
import { FileType, type MaybePromise } from "../file-system.ts";
import { checkChanges, clearSetIds } from "../ownership.ts";
import { Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { checkIo } from "../state/io.ts";

/** RFC 8881 §18.30. */
export function setattr(compound: Compound): MaybePromise<Status> {
  const { node, stateid, changeRequest } = compound;
  stateid.read(compound);
  const decoded = changeRequest.read(compound.reader, compound.minorVersion);
  if (node === undefined) return refuse(compound, Status.NOFILEHANDLE);
  if (decoded !== Status.OK) return refuse(compound, decoded);
  const { changes } = changeRequest;
  let openForWriting = false;
  if (changes.size !== undefined) {
    if (node.type === FileType.DIRECTORY) return refuse(compound, Status.ISDIR);
    if (node.type !== FileType.REGULAR) return refuse(compound, Status.INVAL);
    const status = checkIo(compound, node, Share.WRITE);
    if (status !== Status.OK) return refuse(compound, status);
    openForWriting = stateid.state !== undefined;
  } else if (!stateid.isSpecial) {
    const status = stateid.resolve(compound);
    if (status !== Status.OK) return refuse(compound, status);
  }
  if (node.type === FileType.REGULAR) {
    const status = compound.context.delegations.recallForChange(compound, node);
    if (status !== Status.OK) return refuse(compound, status);
  }
  return andThen(node.attributes(), (attributes) => {
    const { credentials } = compound;
    const mayWrite =
      openForWriting || (permissions(node.type, attributes, credentials) & Permission.WRITE) !== 0;
    const status = checkChanges(attributes, credentials, changes, mayWrite);
    if (status !== Status.OK) return refuse(compound, status);
    clearSetIds(attributes, credentials, changes);
    return andThen(node.setAttributes(changes), () => {
      writeBitmap(compound.writer, changeRequest.word0, changeRequest.word1, 0);
      return Status.OK;
    });
  });
}

/** SETATTR4res has a bitmap also when nothing was set. */
function refuse(compound: Compound, status: Status): Status {
  compound.writer.uint32(0);
  return status;
}
