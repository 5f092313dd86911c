import type { Compound } from "../compound/compound.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.28. */
export function savefh(compound: Compound): Status {
  if (compound.node === undefined) {
    return Status.NOFILEHANDLE;
  }
  compound.savedNode = compound.node;
  compound.savedState = compound.currentState;
  compound.savedSeqid = compound.currentSeqid;
  return Status.OK;
}
