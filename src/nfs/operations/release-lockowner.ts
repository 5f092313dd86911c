import type { Compound } from "../compound/compound.ts";
import { MAXIMUM_OPAQUE } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { holdsLocks } from "../state/locks.ts";

/** RFC 7530 §16.37. */
export function releaseLockowner(compound: Compound): Status {
  const { reader, context } = compound;
  const client = context.state.clients.find(reader.uint32(), reader.uint32());
  const key = reader.latin1(MAXIMUM_OPAQUE);
  if (client === undefined || !client.confirmed) {
    return Status.STALE_CLIENTID;
  }
  client.renewedAt = context.state.now;
  const owner = client.lockOwners.get(key);
  if (owner === undefined) {
    return Status.OK;
  }
  for (const state of owner.states.values()) {
    if (holdsLocks(state)) {
      return Status.LOCKS_HELD;
    }
  }
  for (const state of [...owner.states.values()]) {
    context.state.removeLockState(state);
  }
  client.lockOwners.delete(key);
  return Status.OK;
}
