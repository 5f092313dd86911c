import { makeChange, writeChangeInfo } from "../compound/change-info.ts";
import { changeable } from "../compound/changeable.ts";
import type { Compound } from "../compound/compound.ts";
import { readName } from "../compound/names.ts";
import { FileType } from "../file-system.ts";
import { checkNode, Permission } from "../permissions/access.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.9: a name in the current directory for the saved node. */
export async function link(compound: Compound): Promise<Status> {
  const named = readName(compound);
  const { savedNode: source, node: directory, name } = compound;
  if (source === undefined || directory === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (directory.type !== FileType.DIRECTORY) {
    return Status.NOTDIR;
  }
  if (source.type === FileType.DIRECTORY) {
    return Status.ISDIR;
  }
  if (named !== Status.OK) {
    return named;
  }
  const permitted = checkNode(directory, compound.credentials, Permission.WRITE | Permission.EXECUTE);
  if (permitted !== Status.OK) {
    return permitted;
  }
  if (source.type === FileType.REGULAR) {
    const recalled = compound.context.delegations.recallForChange(compound.caller, source);
    if (recalled !== Status.OK) {
      return recalled;
    }
  }
  const target = changeable(compound.context.state, source);
  compound.savedNode = target;
  const linked = await makeChange(directory, () => directory.link(name, target));
  writeChangeInfo(compound.writer, linked);
  return Status.OK;
}
