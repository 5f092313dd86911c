import type { Compound } from "../compound/compound.ts";
import { FileType } from "../file-system.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.24. */
export function readlink(compound: Compound): Status {
  const { node } = compound;
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (node.type !== FileType.SYMLINK) {
    return compound.minorVersion === 0 ? Status.INVAL : Status.WRONG_TYPE;
  }
  compound.writer.opaque(node.target);
  return Status.OK;
}
