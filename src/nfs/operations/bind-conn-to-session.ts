import type { Compound } from "../compound/compound.ts";
import { Status } from "../protocol/status.ts";

/** channel_dir_from_client4 and channel_dir_from_server4. */
const FORE = 1;
const BACK = 2;
const FORE_OR_BOTH = 3;
const BACK_OR_BOTH = 7;
const BOTH = 3;

/** RFC 8881 §18.34. */
export function bindConnToSession(compound: Compound): Status {
  const { reader, writer, context, connection } = compound;
  const id = reader.fixed(16);
  const direction = reader.uint32();
  reader.bool();
  const session = context.state.clients.findSession(id.toString("latin1"));
  if (session === undefined) {
    return Status.BADSESSION;
  }
  if (direction !== FORE && direction !== BACK && direction !== FORE_OR_BOTH && direction !== BACK_OR_BOTH) {
    return Status.INVAL;
  }
  connection.addSession(session);
  session.client.renewedAt = context.state.now;
  if (direction !== FORE) {
    session.backChannel.bind(connection);
  }
  writer.fixed(session.id);
  writer.uint32(direction === FORE ? FORE : direction === BACK ? BACK : BOTH);
  writer.bool(false);
  return Status.OK;
}
