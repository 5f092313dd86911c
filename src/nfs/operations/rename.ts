import { writeChangeInfo } from "../compound/change-info.ts";
import type { Compound } from "../compound/compound.ts";
import { isSameNode } from "../compound/io.ts";
import { readName } from "../compound/names.ts";
import { FileType } from "../file-system.ts";
import { checkNode, Permission } from "../permissions/access.ts";
import { Status } from "../protocol/status.ts";
import { mayRemove } from "./remove.ts";

const WANTED = Permission.WRITE | Permission.EXECUTE;

/** RFC 8881 §18.26: from the saved directory to the current one. */
export async function rename(compound: Compound): Promise<Status> {
  const oldNamed = readName(compound);
  const oldName = compound.name;
  const newNamed = readName(compound);
  const newName = compound.name;
  const { savedNode: source, node: target, credentials } = compound;
  if (source === undefined || target === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (source.type !== FileType.DIRECTORY || target.type !== FileType.DIRECTORY) {
    return Status.NOTDIR;
  }
  if (oldNamed !== Status.OK) {
    return oldNamed;
  }
  if (newNamed !== Status.OK) {
    return newNamed;
  }
  for (const directory of [source, target]) {
    const permitted = checkNode(directory, credentials, WANTED);
    if (permitted !== Status.OK) {
      return permitted;
    }
  }

  const entry = await source.lookup(oldName);
  if (entry === undefined) {
    return Status.NOENT;
  }
  const replaced = await target.lookup(newName);
  const mayLeave = mayRemove(compound, source, entry);
  if (mayLeave !== Status.OK) {
    return mayLeave;
  }
  if (entry.type === FileType.DIRECTORY && !isSameNode(source, target)) {
    // Another parent is a change of the directory's own "..", for which rename(2) wants to write to it.
    const permitted = checkNode(entry, credentials, Permission.WRITE);
    if (permitted !== Status.OK) {
      return permitted;
    }
  }
  if (replaced !== undefined && replaced !== entry) {
    const mayGo = mayRemove(compound, target, replaced);
    if (mayGo !== Status.OK) {
      return mayGo;
    }
  }

  const sourceBefore = source.attributes().change;
  const targetBefore = target.attributes().change;
  const renamed = source.rename(oldName, target, newName);
  const exclusive = !(renamed instanceof Promise);
  if (!exclusive) {
    await renamed;
  }
  const { writer } = compound;
  writeChangeInfo(writer, { before: sourceBefore, after: source.attributes().change, exclusive });
  writeChangeInfo(writer, { before: targetBefore, after: target.attributes().change, exclusive });
  return Status.OK;
}
