import type { Compound } from "../compound.ts";
import { Status } from "../protocol/status.ts";

/** RFC 7530 §16.29. */
export function renew(compound: Compound): Status {
  const { state } = compound.context;
  const client = state.findClient(compound.reader.uint32(), compound.reader.uint32());
  if (client === undefined || !client.confirmed || client.minorVersion !== 0) return Status.STALE_CLIENTID;
  client.renewedAt = state.now;
  return Status.OK;
}
