import type { Compound } from "../compound/compound.ts";
import { Status } from "../protocol/status.ts";
import { isSameNode } from "../state/io.ts";
import { Delegation } from "../state/states.ts";

/** RFC 8881 §18.6. */
export function delegreturn(compound: Compound): Status {
  const { stateid, context, node } = compound;
  stateid.read(compound);
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  const status = stateid.resolve(compound);
  if (status !== Status.OK) {
    return status;
  }
  const { state } = stateid;
  if (!(state instanceof Delegation) || !isSameNode(state.file.node, node)) {
    return Status.BAD_STATEID;
  }
  context.state.removeDelegation(state);
  return Status.OK;
}
