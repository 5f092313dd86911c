import type { Compound } from "../compound/compound.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.50. */
export function destroyClientid(compound: Compound): Status {
  const { reader, context, connection } = compound;
  const client = context.state.clients.find(reader.uint32(), reader.uint32());
  if (client === undefined || client.minorVersion === 0) {
    return Status.STALE_CLIENTID;
  }
  if (context.gate !== undefined && !connection.speaksFor(client)) {
    return Status.STALE_CLIENTID;
  }
  if (client.sessions.size > 0 || client.hasState) {
    return Status.CLIENTID_BUSY;
  }
  context.state.clients.remove(client);
  return Status.OK;
}
