import type { Compound } from "../compound/compound.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.8. */
export function getfh(compound: Compound): Status {
  if (compound.node === undefined) {
    return Status.NOFILEHANDLE;
  }
  compound.writer.opaque(compound.node.handle);
  return Status.OK;
}
