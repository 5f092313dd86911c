import type { Compound } from "../compound/compound.ts";
import { checkIo, checkPermission, notAFile } from "../compound/io.ts";
import { FileType, MAXIMUM_FILE_SIZE, type MaybePromise, type RegularFile } from "../file-system.ts";
import { clearSetIds } from "../permissions/ownership.ts";
import { MAXIMUM_IO, Share, Stable } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.32. */
export function write(compound: Compound): MaybePromise<Status> {
  const { reader, node } = compound;
  compound.stateid.read(compound.reader);
  const offset = reader.uint64();
  const stable = reader.uint32();
  const data = reader.opaque(reader.remaining);
  if (stable > Stable.FILE_SYNC) {
    return Status.BADXDR;
  }
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
  if (data.length > MAXIMUM_IO) {
    return Status.INVAL;
  }
  if (offset + data.length > MAXIMUM_FILE_SIZE) {
    return Status.FBIG;
  }
  const recalled = compound.context.delegations.recallForChange(compound.caller, node);
  if (recalled !== Status.OK) {
    return recalled;
  }
  const permitted = checkPermission(compound, node, Share.WRITE);
  if (permitted !== Status.OK) {
    return permitted;
  }
  const cleared = clearSetIds(node, compound.credentials);
  if (cleared instanceof Promise) {
    return cleared.then(() => start(compound, node, offset, data, stable));
  }
  return start(compound, node, offset, data, stable);
}

function start(
  compound: Compound,
  file: RegularFile,
  offset: number,
  data: Uint8Array,
  stable: number,
): MaybePromise<Status> {
  const written = data.length === 0 ? undefined : file.write(offset, data, stable !== Stable.UNSTABLE);
  if (written instanceof Promise) {
    return written.then(() => answer(compound, data.length, stable));
  }
  return answer(compound, data.length, stable);
}

function answer(compound: Compound, count: number, stable: number): Status {
  const { writer } = compound;
  compound.context.statistics.bytesWritten += count;
  writer.uint32(count);
  writer.uint32(stable === Stable.UNSTABLE ? Stable.UNSTABLE : Stable.FILE_SYNC);
  writer.fixed(compound.context.state.verifier);
  return Status.OK;
}
