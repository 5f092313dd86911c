import type { XdrReader } from "../../xdr/index.ts";
import type { Connection } from "../connection.ts";
import { SequenceStatus } from "../protocol/constants.ts";
import type { Client } from "../state/client.ts";
import type { Session } from "../state/session.ts";

/** The server's calls to its clients. */
export class Callbacks {
  /** A reply to a callback arrived. */
  reply(_connection: Connection, _xid: number, _reader: XdrReader): void {}

  /** The connection has ended, and with it the calls that went out on it. */
  forget(_connection: Connection): void {}

  /** SEQ4_STATUS_* of a SEQUENCE reply. */
  statusFlags(client: Client, session: Session): number {
    let flags = 0;
    if (client.stateRevoked > 0) flags |= SequenceStatus.RECALLABLE_STATE_REVOKED;
    if (client.delegations.size > 0 && session.backConnections.size === 0)
      flags |= SequenceStatus.CB_PATH_DOWN_SESSION;
    return flags;
  }
}
