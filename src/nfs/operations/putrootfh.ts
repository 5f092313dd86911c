import type { Compound } from "../compound/compound.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.21; PUTPUBFH (§18.20) is the same. */
export function putrootfh(compound: Compound): Status {
  compound.node = compound.context.gate?.root ?? compound.context.fileSystem.root;
  compound.currentState = undefined;
  return Status.OK;
}
