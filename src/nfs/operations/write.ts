import type { Compound } from "../compound/compound.ts";
import { type ReachedFile, withinReach } from "../compound/offset.ts";
import { FileType, type MaybePromise, type Offset } from "../file-system.ts";
import { andThen, checkFile, checkOpenFile, Permission } from "../permissions/access.ts";
import { withoutSetIds } from "../permissions/ownership.ts";
import { MAXIMUM_IO, Share, Stable } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { checkIo, notAFile } from "../state/io.ts";

/** RFC 8881 §18.32. */
export function write(compound: Compound): MaybePromise<Status> {
  const { reader, node } = compound;
  compound.stateid.read(compound);
  const offset = reader.exactUint64();
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
  if (!withinReach(node, offset, data.length)) {
    return Status.FBIG;
  }
  const changed = compound.context.delegations.recallForChange(compound, node);
  if (changed !== Status.OK) {
    return changed;
  }
  if (compound.credentials.userId === 0) {
    return start(compound, node, offset, data, stable);
  }
  return writeUnprivileged(compound, node, offset, data, stable);
}

/** Permission, and the set-id bits, which such a write takes away. */
function writeUnprivileged(
  compound: Compound,
  file: ReachedFile,
  offset: Offset,
  data: Uint8Array,
  stable: number,
): MaybePromise<Status> {
  return andThen(file.attributes(), (attributes) => {
    const check = compound.stateid.state === undefined ? checkFile : checkOpenFile;
    const status = check(file.type, attributes, compound.credentials, Permission.WRITE);
    if (status !== Status.OK) {
      return status;
    }
    const mode = withoutSetIds(attributes.mode);
    const set = mode === attributes.mode ? undefined : file.setAttributes({ mode });
    return andThen(set, () => start(compound, file, offset, data, stable));
  });
}

function start(
  compound: Compound,
  file: ReachedFile,
  offset: Offset,
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
  writer.uint32(count);
  writer.uint32(stable === Stable.UNSTABLE ? Stable.UNSTABLE : Stable.FILE_SYNC);
  writer.fixed(compound.context.state.verifier);
  return Status.OK;
}
