import { withChange, writeChangeInfo } from "../compound/change-info.ts";
import type { Compound } from "../compound/compound.ts";
import { readName } from "../compound/names.ts";
import { type Directory, FileType, type MaybePromise, type Node } from "../file-system.ts";
import { andThen, checkNode, checkSticky, ensure, Permission } from "../permissions/access.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.25. */
export function remove(compound: Compound): MaybePromise<Status> {
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
  return andThen(checkNode(node, compound.credentials, Permission.WRITE | Permission.EXECUTE), (status) => {
    if (status !== Status.OK) {
      return status;
    }
    return andThen(node.lookup(name), (entry) => {
      if (entry === undefined) {
        return Status.NOENT;
      }
      return andThen(mayRemove(compound, node, entry), () =>
        withChange(
          node,
          () => node.remove(name),
          (_, before, after, exclusive) => {
            writeChangeInfo(compound.writer, before, after, exclusive);
            return Status.OK;
          },
        ),
      );
    });
  });
}

/** Throws where the sticky bit or a delegation stands in the way of taking the entry out of the directory. */
export function mayRemove(compound: Compound, directory: Directory, entry: Node): MaybePromise<void> {
  if (entry.type === FileType.REGULAR) {
    ensure(compound.context.delegations.recallForRemoval(compound, entry));
  }
  if (compound.credentials.userId === 0) {
    return;
  }
  return andThen(directory.attributes(), (ofDirectory) =>
    andThen(entry.attributes(), (ofEntry) => ensure(checkSticky(ofDirectory, ofEntry, compound.credentials))),
  );
}
