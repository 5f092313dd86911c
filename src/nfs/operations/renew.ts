import type { Compound } from "../compound.ts";
import { Status } from "../protocol/status.ts";

/** RFC 7530 §16.29. */
export function renew(compound: Compound): Status {
  const { state } = compound.context;
  const high = compound.reader.uint32();
  const low = compound.reader.uint32();
  const client = state.findClient(high, low);
  if (client === undefined) return state.whyNoClient(high, low);
  if (!client.confirmed || client.minorVersion !== 0) return Status.STALE_CLIENTID;
  client.renewedAt = state.now;
  return Status.OK;
}
