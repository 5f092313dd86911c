import type { Compound } from "../compound/compound.ts";
import { FileType } from "../file-system.ts";
import { checkNode, Permission } from "../permissions/access.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.14. */
export function lookupp(compound: Compound): Status {
  const { node } = compound;
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (node.type !== FileType.DIRECTORY) {
    return node.type === FileType.SYMLINK && compound.minorVersion > 0 ? Status.SYMLINK : Status.NOTDIR;
  }
  const permitted = checkNode(node, compound.credentials, Permission.EXECUTE);
  if (permitted !== Status.OK) {
    return permitted;
  }
  const parent = node.parent();
  if (parent === undefined) {
    return Status.NOENT;
  }
  compound.node = parent;
  compound.currentState = undefined;
  return Status.OK;
}
