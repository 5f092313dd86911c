import type { Compound } from "../compound/compound.ts";
import { checkIo, checkPermission, notAFile } from "../compound/io.ts";
import {
  FileType,
  isSparse,
  MAXIMUM_FILE_SIZE,
  type MaybePromise,
  type RegularFile,
  type SparseFile,
} from "../file-system.ts";
import { clearSetIds } from "../permissions/ownership.ts";
import { Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";

/** RFC 7862 §15.1. */
export function allocate(compound: Compound): Promise<Status> {
  return change(compound, (file, offset, length) => file.allocate(offset, length));
}

/** RFC 7862 §15.4. */
export function deallocate(compound: Compound): Promise<Status> {
  return change(compound, (file, offset, length) => file.deallocate(offset, length));
}

async function change(
  compound: Compound,
  act: (file: RegularFile & SparseFile, offset: number, length: number) => MaybePromise<void>,
): Promise<Status> {
  const { reader, node, context } = compound;
  compound.stateid.read(compound.reader);
  const offset = reader.uint64();
  const length = reader.uint64();
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
  if (offset + length > MAXIMUM_FILE_SIZE) {
    return Status.FBIG;
  }
  const recalled = context.delegations.recallForChange(compound.caller, node);
  if (recalled !== Status.OK) {
    return recalled;
  }
  const permitted = checkPermission(compound, node, Share.WRITE);
  if (permitted !== Status.OK) {
    return permitted;
  }
  await clearSetIds(node, compound.credentials);
  await act(node, offset, length);
  return Status.OK;
}
