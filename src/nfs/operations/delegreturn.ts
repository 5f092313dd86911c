import type { Compound } from "../compound/compound.ts";
import { isSameNode } from "../compound/io.ts";
import { resolveStateid } from "../compound/stateid.ts";
import { Status } from "../protocol/status.ts";
import { Delegation } from "../state/records.ts";

/** RFC 8881 §18.6. */
export function delegreturn(compound: Compound): Status {
  const { stateid, context, node } = compound;
  stateid.read(compound.reader);
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  const status = resolveStateid(compound);
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
