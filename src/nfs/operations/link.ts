import { withChange, writeChangeInfo } from "../compound/change-info.ts";
import type { Compound } from "../compound/compound.ts";
import { readName } from "../compound/names.ts";
import { FileType, type MaybePromise } from "../file-system.ts";
import { andThen, checkNode, Permission } from "../permissions/access.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.9: a name in the current directory for the saved node. */
export function link(compound: Compound): MaybePromise<Status> {
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
  return andThen(permitted, (status) => {
    if (status !== Status.OK) {
      return status;
    }
    if (source.type === FileType.REGULAR) {
      const changed = compound.context.delegations.recallForChange(compound, source);
      if (changed !== Status.OK) {
        return changed;
      }
    }
    return withChange(
      directory,
      () => directory.link(name, source),
      (_, before, after, exclusive) => {
        writeChangeInfo(compound.writer, before, after, exclusive);
        return Status.OK;
      },
    );
  });
}
