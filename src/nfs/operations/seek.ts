import type { Compound } from "../compound/compound.ts";
import { type ReachedSparseFile, sizeOf } from "../compound/offset.ts";
import { FileType, isSparse, type MaybePromise, type Offset } from "../file-system.ts";
import { andThen } from "../permissions/access.ts";
import { Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { checkIo, checkPermission, notAFile } from "../state/io.ts";

const DATA = 0;
const HOLE = 1;

/** RFC 7862 §15.11. A file that knows nothing of holes is data to its end. */
export function seek(compound: Compound): MaybePromise<Status> {
  const { reader, node } = compound;
  compound.stateid.read(compound);
  const offset = reader.exactUint64();
  const what = reader.uint32();
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (node.type !== FileType.REGULAR) {
    return notAFile(node, compound.minorVersion);
  }
  const status = checkIo(compound, node, Share.READ);
  if (status !== Status.OK) {
    return status;
  }
  if (what > HOLE) {
    return Status.UNION_NOTSUPP;
  }
  return andThen(checkPermission(compound, node, Share.READ), (permitted) => {
    if (permitted !== Status.OK) {
      return permitted;
    }
    return andThen(node.attributes(), (attributes) => {
      const size = sizeOf(attributes);
      if (offset >= size) {
        return Status.NXIO;
      }
      const found: MaybePromise<Offset | undefined> = isSparse(node)
        ? (node as ReachedSparseFile).seek(offset, what === DATA ? "data" : "hole")
        : what === DATA
          ? offset
          : size;
      return andThen(found, (position) => {
        compound.writer.bool(position === undefined || position >= size);
        compound.writer.exactUint64(position ?? size);
        return Status.OK;
      });
    });
  });
}
