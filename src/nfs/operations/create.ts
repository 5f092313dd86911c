import { writeBitmap } from "../attributes/bitmap.ts";
import { makeChange, writeChangeInfo } from "../compound/change-info.ts";
import type { Compound } from "../compound/compound.ts";
import { readName } from "../compound/names.ts";
import { FileType, type SpecialKind } from "../file-system.ts";
import { checkNode, Permission } from "../permissions/access.ts";
import { inherit } from "../permissions/ownership.ts";
import { MAXIMUM_LINK_TARGET } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.4: everything but regular files. */
export async function create(compound: Compound): Promise<Status> {
  const { reader, node, changeRequest, credentials } = compound;
  const type = reader.uint32();
  let target: Uint8Array | undefined;
  let special: SpecialKind | undefined;
  if (type === FileType.SYMLINK) {
    target = Buffer.from(reader.opaque(reader.remaining));
  } else if (type === FileType.BLOCK_DEVICE || type === FileType.CHARACTER_DEVICE) {
    special = { type, major: reader.uint32(), minor: reader.uint32() };
  } else if (type === FileType.SOCKET || type === FileType.FIFO) {
    special = { type };
  }
  const named = readName(compound);
  const decoded = changeRequest.read(reader, compound.minorVersion);
  const { name } = compound;
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (node.type !== FileType.DIRECTORY) {
    return Status.NOTDIR;
  }
  if (type !== FileType.DIRECTORY && target === undefined && special === undefined) {
    return Status.BADTYPE;
  }
  if (named !== Status.OK) {
    return named;
  }
  if (decoded !== Status.OK) {
    return decoded;
  }
  if (target !== undefined) {
    if (target.length === 0 || target.includes(0)) {
      return Status.INVAL;
    }
    if (target.length > MAXIMUM_LINK_TARGET) {
      return Status.NAMETOOLONG;
    }
  }
  const { changes } = changeRequest;
  if (changes.size !== undefined) {
    return Status.INVAL;
  }
  const permitted = checkNode(node, credentials, Permission.WRITE | Permission.EXECUTE);
  if (permitted !== Status.OK) {
    return permitted;
  }

  const owner = inherit(node.attributes(), credentials, changes, type === FileType.DIRECTORY);
  const made = await makeChange(node, () => {
    if (target !== undefined) {
      return node.createSymlink(name, owner, target, changes);
    }
    return special === undefined
      ? node.createDirectory(name, owner, changes)
      : node.createSpecial(name, owner, special, changes);
  });
  compound.node = made.result;
  compound.currentState = undefined;
  writeChangeInfo(compound.writer, made);
  writeBitmap(compound.writer, changeRequest.word0, changeRequest.word1, 0);
  return Status.OK;
}
