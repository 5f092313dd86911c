import { XdrReader, XdrWriter } from "../../xdr/index.ts";
import { ChangeRequest } from "../attributes/decode.ts";
import { AttributeRequest } from "../attributes/request.ts";
import type { Credentials, MaybePromise, Node } from "../file-system.ts";
import type { Status } from "../protocol/status.ts";
import type { ServerContext } from "../server-context.ts";
import { LockRange } from "../state/lock-range.ts";
import type { Client, OwnerSequence, Session, SessionConnection, Slot, State } from "../state/records.ts";
import { StateidArgument } from "../state/stateid.ts";
import { OpenArguments } from "./open-arguments.ts";

/**
 * An operation: reads its arguments from `compound.reader`, writes its result after the status to `compound.writer`,
 * and returns the status or a promise of it. It writes nothing before it has waited, and reads `compound.writer` anew
 * afterwards. What it wrote stands whatever the status; if it throws, its result is discarded.
 */
export type OperationHandler = (compound: Compound) => MaybePromise<Status>;

/** By minor version and operation number; undefined where there is no such operation. */
export type OperationTable = readonly (readonly (OperationHandler | undefined)[])[];

/** What operations need of the connection on which a request came. */
export interface CompoundConnection extends SessionConnection {
  /** Distinguishes it from all others, earlier and later ones included. */
  readonly name: string;
  readonly remoteAddress: string;
  /** The session that the last SEQUENCE named. */
  session: Session | undefined;
  /** The session's replies and callbacks may use this connection. */
  addSession(session: Session): void;
  /** With a gate, records of clients that are never admitted must not pile up. */
  readonly mayMakeClient: boolean;
  /** The client record was made on this connection. */
  addClient(client: Client): void;
  /** Whether the client record was made on this connection, or one of its sessions uses it. */
  speaksFor(client: Client): boolean;
  /** NFSv4.0: a request on this connection was the client's. */
  nameClient(client: Client): void;
  /** NFSv4.0: the one client that all requests on this connection come from; undefined if that cannot be told. */
  readonly soleClient: Client | undefined;
}

const NOBODY: Credentials = { userId: 65534, groupId: 65534, supplementaryGroupIds: [] };

/** One COMPOUND request on its way, as its operations see it. */
export class Compound {
  readonly context: ServerContext;
  readonly reader = new XdrReader();
  /** The connection's batch of replies; from the first wait on, the compound's own writer. */
  writer: XdrWriter;
  connection!: CompoundConnection;
  xid = 0;
  credentials: Credentials = NOBODY;
  /** Flavor and user: only the same principal may replace what this request makes. */
  principal = "";
  minorVersion = 0;

  /** The last name read. */
  name = "";
  /** Arguments that many operations share, read into place. */
  readonly stateid = new StateidArgument();
  readonly attributeRequest = new AttributeRequest();
  readonly changeRequest = new ChangeRequest();
  readonly openArguments = new OpenArguments();
  readonly lockRange = new LockRange();

  /** Current and saved filehandle. */
  node: Node | undefined;
  savedNode: Node | undefined;
  /** Current and saved stateid (RFC 8881 §16.2.3.1.2). */
  currentState: State | undefined;
  currentSeqid = 0;
  savedState: State | undefined;
  savedSeqid = 0;

  session: Session | undefined;
  slot: Slot | undefined;
  cacheReply = false;
  /** The session's client; in NFSv4.0 the one that the current operation named. */
  client: Client | undefined;
  /** Whether it may see more than the gate's empty root. */
  admitted = true;

  /** The kept answer for a retry: see kept-replies.ts. */
  replay: Buffer | undefined;
  /** NFSv4.0: the owner whose seqid the current operation uses. */
  ownerSequence: OwnerSequence | undefined;

  /** Position of the operation in the request, and how many there are. */
  index = 0;
  count = 0;
  /** Length of the request in bytes, from the RPC header on. */
  requestLength = 0;
  requestStart = 0;
  /** Where the reply's record begins in the writer. */
  replyStart = 0;
  /** The compound's own writer. */
  protected readonly own = new XdrWriter(1024);

  constructor(context: ServerContext) {
    this.context = context;
    this.writer = this.own;
  }

  /** The calling client, if known: in NFSv4.0 many operations name none. */
  get caller(): Client | undefined {
    return this.client ?? this.connection.soleClient;
  }

  /** Length of the reply so far, in bytes; stays comparable across waits. */
  get replyLength(): number {
    return this.writer.position - this.replyStart;
  }

  /** The longest reply that the client takes, in bytes: as a whole RPC message, and for one READDIR or READ in it. */
  get replyLimit(): number {
    return this.session?.fore.maxResponseSize ?? this.context.maximumRecord;
  }
}
