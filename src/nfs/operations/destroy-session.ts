import type { Compound } from "../compound/compound.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.37. */
export function destroySession(compound: Compound): Status {
  const { reader, context, connection } = compound;
  const session = context.state.clients.findSession(reader.fixed(16).toString("latin1"));
  if (session === undefined) {
    return Status.BADSESSION;
  }
  if (!session.connections.has(connection)) {
    return Status.CONN_NOT_BOUND_TO_SESSION;
  }
  // In a compound of the same session it must come last, and its SEQUENCE is then the only one in progress.
  if (compound.session === session && compound.index !== compound.count - 1) {
    return Status.NOT_ONLY_OP;
  }
  if (session.active > (compound.session === session ? 1 : 0)) {
    return Status.DELAY;
  }
  context.state.clients.removeSession(session);
  return Status.OK;
}
