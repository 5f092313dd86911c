import type { Compound } from "../compound/compound.ts";
import { Status } from "../protocol/status.ts";

/** RFC 7530 §16.29. The lease is renewed even if the client cannot be called back. */
export function renew(compound: Compound): Status {
  const { state } = compound.context;
  const high = compound.reader.uint32();
  const low = compound.reader.uint32();
  const client = state.clients.find(high, low);
  if (client === undefined) {
    return state.clients.whyNone(high, low);
  }
  if (!client.confirmed || client.minorVersion !== 0) {
    return Status.STALE_CLIENTID;
  }
  client.renewedAt = state.now;
  compound.connection.nameClient(client);
  if (client.callback === undefined || client.callback.isUp) {
    return Status.OK;
  }
  client.callback.probe();
  return client.delegations.size > 0 ? Status.CB_PATH_DOWN : Status.OK;
}
