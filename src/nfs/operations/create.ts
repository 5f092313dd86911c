import { writeBitmap } from "../attributes/encode.ts";
import { withChange, writeChangeInfo } from "../compound/change-info.ts";
import type { Compound } from "../compound/compound.ts";
import { readName } from "../compound/names.ts";
import { type Directory, FileType, type MaybePromise, type Node, type SpecialKind } from "../file-system.ts";
import { andThen, checkNode, Permission } from "../permissions/access.ts";
import { inherit } from "../permissions/ownership.ts";
import { MAXIMUM_LINK_TARGET } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.4: everything but regular files. */
export function create(compound: Compound): MaybePromise<Status> {
  const { reader, node, changeRequest } = compound;
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
  const { size, hugeSize } = changeRequest.changes;
  if (size !== undefined || hugeSize !== undefined) {
    return Status.INVAL;
  }
  const permitted = checkNode(node, compound.credentials, Permission.WRITE | Permission.EXECUTE);
  return andThen(permitted, (status) => {
    if (status !== Status.OK) {
      return status;
    }
    return withChange(
      node,
      () => make(compound, node, name, type, target, special),
      (made, before, after, exclusive) => answer(compound, made, before, after, exclusive),
    );
  });
}

function make(
  compound: Compound,
  directory: Directory,
  name: string,
  type: number,
  target: Uint8Array | undefined,
  special: SpecialKind | undefined,
): MaybePromise<Node> {
  return andThen(directory.attributes(), (attributes): MaybePromise<Node> => {
    const { changes } = compound.changeRequest;
    const owner = inherit(attributes, compound.credentials, changes, type === FileType.DIRECTORY);
    if (target !== undefined) {
      return directory.createSymlink(name, owner, target, changes);
    }
    if (special !== undefined) {
      return directory.createSpecial(name, owner, special, changes);
    }
    return directory.createDirectory(name, owner, changes);
  });
}

function answer(compound: Compound, made: Node, before: number, after: number, exclusive: boolean): Status {
  const { writer, changeRequest } = compound;
  compound.node = made;
  compound.currentState = undefined;
  writeChangeInfo(writer, before, after, exclusive);
  writeBitmap(writer, changeRequest.word0, changeRequest.word1, 0);
  return Status.OK;
}
