import type { Compound } from "../compound/compound.ts";
import { Status } from "../protocol/status.ts";
import { holdsLocks } from "../state/locks.ts";
import { LockState } from "../state/states.ts";

/** RFC 8881 §18.38. */
export function freeStateid(compound: Compound): Status {
  const { stateid, context } = compound;
  stateid.read(compound);
  const status = stateid.resolve(compound);
  const { state } = stateid;
  if (status === Status.DELEG_REVOKED) {
    return context.delegations.free(compound);
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
