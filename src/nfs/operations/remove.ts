import { makeChange, writeChangeInfo } from "../compound/change-info.ts";
import type { Compound } from "../compound/compound.ts";
import { readName } from "../compound/names.ts";
import { type Directory, FileType, type Node } from "../file-system.ts";
import { checkNode, checkSticky, Permission } from "../permissions/access.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.25. */
export async function remove(compound: Compound): Promise<Status> {
  const named = readName(compound);
  const { node, name } = compound;
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (node.type !== FileType.DIRECTORY) {
    return Status.NOTDIR;
  }
  if (named !== Status.OK) {
    return named;
  }
  const permitted = checkNode(node, compound.credentials, Permission.WRITE | Permission.EXECUTE);
  if (permitted !== Status.OK) {
    return permitted;
  }
  const entry = await node.lookup(name);
  if (entry === undefined) {
    return Status.NOENT;
  }
  const status = mayRemove(compound, node, entry);
  if (status !== Status.OK) {
    return status;
  }
  const removed = await makeChange(node, () => node.remove(name));
  writeChangeInfo(compound.writer, removed);
  return Status.OK;
}

/** OK unless the sticky bit or a delegation forbids removing the entry from the directory. */
export function mayRemove(compound: Compound, directory: Directory, entry: Node): Status {
  const { credentials, context } = compound;
  if (entry.type === FileType.REGULAR) {
    const recalled = context.delegations.recallForRemoval(compound.caller, entry);
    if (recalled !== Status.OK) {
      return recalled;
    }
  }
  return checkSticky(directory.attributes(), entry.attributes(), credentials);
}
