import type { Compound } from "../compound/compound.ts";
import { type ReachedSparseFile, withinReach } from "../compound/offset.ts";
import { FileType, isSparse, type MaybePromise, type Offset } from "../file-system.ts";
import { andThen } from "../permissions/access.ts";
import { Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { checkIo, checkPermission, notAFile } from "../state/io.ts";

/** RFC 7862 §15.1. */
export function allocate(compound: Compound): MaybePromise<Status> {
  return change(compound, (file, offset, length) => file.allocate(offset, length));
}

/** RFC 7862 §15.4. */
export function deallocate(compound: Compound): MaybePromise<Status> {
  return change(compound, (file, offset, length) => file.deallocate(offset, length));
}

function change(
  compound: Compound,
  act: (file: ReachedSparseFile, offset: Offset, length: Offset) => MaybePromise<void>,
): MaybePromise<Status> {
  const { reader, node, context } = compound;
  compound.stateid.read(compound);
  const offset = reader.exactUint64();
  const length = reader.exactUint64();
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (node.type !== FileType.REGULAR) {
    return notAFile(node, compound.minorVersion);
  }
  const status = checkIo(compound, node, Share.WRITE);
  if (status !== Status.OK) {
    return status;
  }
  if (!isSparse(node)) {
    return Status.NOTSUPP;
  }
  if (length === 0) {
    return Status.INVAL;
  }
  if (!withinReach(node, offset, length)) {
    return Status.FBIG;
  }
  const recalled = context.delegations.recallForChange(compound, node);
  if (recalled !== Status.OK) {
    return recalled;
  }
  return andThen(checkPermission(compound, node, Share.WRITE), (permitted) =>
    permitted === Status.OK
      ? andThen(act(node as ReachedSparseFile, offset, length), () => Status.OK)
      : permitted,
  );
}
