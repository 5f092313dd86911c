import { changeOf, writeChangeInfo } from "../compound/change-info.ts";
import type { Compound } from "../compound/compound.ts";
import { readName } from "../compound/names.ts";
import { type Directory, FileType, type MaybePromise } from "../file-system.ts";
import { andThen, checkNode, ensure, Permission } from "../permissions/access.ts";
import { Status } from "../protocol/status.ts";
import { mayRemove } from "./remove.ts";

const WANTED = Permission.WRITE | Permission.EXECUTE;

/** RFC 8881 §18.26: from the saved directory to the current one. */
export function rename(compound: Compound): MaybePromise<Status> {
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
  return andThen(checkNode(source, credentials, WANTED), (sourceStatus) => {
    if (sourceStatus !== Status.OK) {
      return sourceStatus;
    }
    return andThen(checkNode(target, credentials, WANTED), (targetStatus) => {
      if (targetStatus !== Status.OK) {
        return targetStatus;
      }
      return andThen(mayRename(compound, source, oldName, target, newName), () =>
        move(compound, source, oldName, target, newName),
      );
    });
  });
}

function mayRename(
  compound: Compound,
  source: Directory,
  oldName: string,
  target: Directory,
  newName: string,
): MaybePromise<void> {
  return andThen(source.lookup(oldName), (entry) => {
    if (entry === undefined) {
      return ensure(Status.NOENT);
    }
    return andThen(mayRemove(compound, source, entry), () =>
      andThen(target.lookup(newName), (replaced) =>
        replaced === undefined || replaced === entry ? undefined : mayRemove(compound, target, replaced),
      ),
    );
  });
}

function move(
  compound: Compound,
  source: Directory,
  oldName: string,
  target: Directory,
  newName: string,
): MaybePromise<Status> {
  return andThen(changeOf(source), (sourceBefore) =>
    andThen(changeOf(target), (targetBefore) => {
      const moved = source.rename(oldName, target, newName);
      const exclusive = !(moved instanceof Promise);
      return andThen(moved, () =>
        andThen(changeOf(source), (sourceAfter) =>
          andThen(changeOf(target), (targetAfter) => {
            writeChangeInfo(compound.writer, sourceBefore, sourceAfter, exclusive);
            writeChangeInfo(compound.writer, targetBefore, targetAfter, exclusive);
            return Status.OK;
          }),
        ),
      );
    }),
  );
}
