import type { Compound } from "../compound/compound.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.27. */
export function restorefh(compound: Compound): Status {
  if (compound.savedNode === undefined) {
    return compound.minorVersion === 0 ? Status.RESTOREFH : Status.NOFILEHANDLE;
  }
  compound.node = compound.savedNode;
  compound.currentState = compound.savedState;
  compound.currentSeqid = compound.savedSeqid;
  return Status.OK;
}
