import type { Compound } from "../compound/compound.ts";
import { resolveStateid } from "../compound/stateid.ts";
import { Status } from "../protocol/status.ts";
import { holdsLocks } from "../state/locks.ts";
import { LockState } from "../state/records.ts";

/** RFC 8881 §18.38. */
export function freeStateid(compound: Compound): Status {
  const { stateid, context } = compound;
  stateid.read(compound.reader);
  const status = resolveStateid(compound);
  const { state } = stateid;
  if (status === Status.DELEG_REVOKED) {
    return context.delegations.free(stateid);
  }
  if (status !== Status.OK) {
    return status;
  }
  if (state instanceof LockState && !holdsLocks(state)) {
    context.state.removeLockState(state);
    return Status.OK;
  }
  return Status.LOCKS_HELD;
}
