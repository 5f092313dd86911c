import type { Compound } from "../compound/compound.ts";
import { MAXIMUM_OPAQUE } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";

/** RFC 7530 §16.33. */
export function setclientid(compound: Compound): Status {
  const { reader, writer, context, principal } = compound;
  const { state } = context;
  const verifierHigh = reader.uint32();
  const verifierLow = reader.uint32();
  const owner = reader.latin1(MAXIMUM_OPAQUE);
  const callbackProgram = reader.uint32();
  const netid = reader.latin1(MAXIMUM_OPAQUE);
  const address = reader.latin1(MAXIMUM_OPAQUE);
  const callbackIdent = reader.uint32();
  const known = state.clients.findByOwner(0, owner, true);
  if (
    known !== undefined &&
    known.principal !== principal &&
    known.hasState &&
    !state.clients.isExpired(known)
  ) {
    writer.latin1(known.callbackNetid);
    writer.latin1(known.callbackAddress);
    return Status.CLID_INUSE;
  }
  const client = state.clients.add({ minorVersion: 0, owner, verifierHigh, verifierLow, principal });
  if (client === undefined) {
    return Status.DELAY;
  }
  if (known !== undefined && known.verifierHigh === verifierHigh && known.verifierLow === verifierLow) {
    // Only the callback is new: the clientid stays, and confirming changes nothing else.
    client.updates = known;
  }
  client.callbackProgram = callbackProgram;
  client.callbackNetid = netid;
  client.callbackAddress = address;
  client.callbackIdent = callbackIdent;
  state.clients.chooseConfirm(client);
  writer.uint32(state.instance);
  writer.uint32((client.updates ?? client).id);
  writer.uint32(client.confirmHigh);
  writer.uint32(client.confirmLow);
  return Status.OK;
}

/** RFC 7530 §16.34. */
export function setclientidConfirm(compound: Compound): Status {
  const { reader, context, principal, connection } = compound;
  const { state, callbacks, delegations } = context;
  const high = reader.uint32();
  const low = reader.uint32();
  const confirmHigh = reader.uint32();
  const confirmLow = reader.uint32();
  const client = state.clients.find(high, low);
  if (client === undefined || client.minorVersion !== 0) {
    return Status.STALE_CLIENTID;
  }
  const waiting = state.clients.findByOwner(0, client.owner, false);
  if (waiting?.confirmHigh === confirmHigh && waiting.confirmLow === confirmLow) {
    if (waiting.principal !== principal) {
      return Status.CLID_INUSE;
    }
    if (waiting.updates === client) {
      state.clients.updateCallback(client, waiting);
    } else if (waiting === client) {
      state.clients.confirm(client);
    } else {
      return Status.STALE_CLIENTID;
    }
    client.renewedAt = state.now;
    connection.nameClient(client);
    if (delegations.enabled) {
      client.callback?.close();
      client.callback = callbacks.programOf(client, connection.remoteAddress);
      client.callback?.probe();
    }
    return Status.OK;
  }
  if (!client.confirmed || client.confirmHigh !== confirmHigh || client.confirmLow !== confirmLow) {
    return Status.STALE_CLIENTID;
  }
  return client.principal === principal ? Status.OK : Status.CLID_INUSE;
}
