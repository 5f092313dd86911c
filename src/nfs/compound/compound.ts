import { crc32 } from "node:zlib";
import { XdrError, XdrReader, XdrWriter } from "../../xdr/index.ts";
import { ChangeRequest } from "../attributes/decode.ts";
import { AttributeRequest } from "../attributes/request.ts";
import { type Credentials, FileSystemError, type MaybePromise, type Node } from "../file-system.ts";
import { LAST_OPERATION, Operation } from "../protocol/operation.ts";
import { Status } from "../protocol/status.ts";
import type { ServerContext } from "../server-context.ts";
import type { Client } from "../state/client.ts";
import { LockRange } from "../state/lock-range.ts";
import type { OwnerSequence } from "../state/owners.ts";
import type { Session, Slot } from "../state/session.ts";
import { StateidArgument } from "../state/stateid.ts";
import type { State } from "../state/states.ts";
import type { Connection } from "../transport/connection.ts";
import { OpenArguments } from "./open-arguments.ts";

/**
 * An operation: reads its arguments from `compound.reader`, writes its result behind the status to
 * `compound.writer` and returns the status, or a promise of it. It writes nothing before it has to wait, and
 * takes `compound.writer` anew after it has waited. What it wrote stands whatever the status is; where it
 * throws, nothing does.
 */
export type OperationHandler = (compound: Compound) => MaybePromise<Status>;

/** SEQUENCE's way to say that the request is a retry: its reply is {@link Compound.replay}. */
export const REPLAYED_COMPOUND = -1;
/** A retry that came while the request is still being served: the slot will answer it. */
export const NO_REPLY = -2;
/** The operation is a retry by an NFSv4.0 owner's seqid: its result is {@link Compound.replay}. */
export const REPLAYED_OPERATION = -3;

const NONE: Credentials = { userId: 65534, groupId: 65534, supplementaryGroupIds: [] };
const SOLO_OPERATIONS: ReadonlySet<number> = new Set([
  Operation.EXCHANGE_ID,
  Operation.CREATE_SESSION,
  Operation.DESTROY_SESSION,
  Operation.BIND_CONN_TO_SESSION,
  Operation.DESTROY_CLIENTID,
]);
/** NFSv4.0 has no other limit. */
const MAXIMUM_OPERATIONS = 512;
/** Then others have their turn: an operation may take milliseconds where a client holds all it may. */
const OPERATIONS_PER_TURN = 8;
const MAXIMUM_TAG = 4096;
/** Bytes of a reply of NFSv4.0 that is kept for a retry. */
const MAXIMUM_KEPT_REPLY = 8 * 1024;
/** What an NFSv4.0 request may fail with without using up the owner's seqid (RFC 7530 §9.1.7). */
const KEEPS_SEQID: ReadonlySet<Status> = new Set([
  Status.STALE_CLIENTID,
  Status.STALE_STATEID,
  Status.BAD_STATEID,
  Status.BAD_SEQID,
  Status.BADXDR,
  Status.RESOURCE,
  Status.NOFILEHANDLE,
]);

/** NFSv4.0: what must not be done again when a request comes again. Owners' seqids see to the others. */
const NOT_IDEMPOTENT: ReadonlySet<number> = new Set([
  Operation.CREATE,
  Operation.LINK,
  Operation.REMOVE,
  Operation.RENAME,
  Operation.SETATTR,
  Operation.WRITE,
]);

/** One COMPOUND request on its way: the context of its operations. Used again for the next one. */
export class Compound {
  readonly context: ServerContext;
  readonly reader = new XdrReader();
  /** The last name read. */
  name = "";
  /** Arguments that many operations have, read into place. */
  readonly stateid = new StateidArgument();
  readonly attributeRequest = new AttributeRequest();
  readonly changeRequest = new ChangeRequest();
  readonly openArguments = new OpenArguments();
  readonly lockRange = new LockRange();
  /** The connection's batch of replies; this compound's own one from the first wait on. */
  writer: XdrWriter;
  connection!: Connection;
  xid = 0;
  credentials: Credentials = NONE;
  /** Flavor and user: who may replace what this request makes. */
  principal = "";
  minorVersion = 0;

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
  /** The session's client; in NFSv4.0 whoever the operation at hand named. */
  client: Client | undefined;
  /** May see more than the gate's empty root. */
  admitted = true;

  replay: Buffer | undefined;
  /** NFSv4.0: whose seqid the operation at hand uses. */
  ownerSequence: OwnerSequence | undefined;

  /** Place of the operation in the request, and their number. */
  index = 0;
  count = 0;
  operation = 0;
  /** Length of the request in bytes, from the RPC header on. */
  requestLength = 0;
  requestStart = 0;
  /** Where the reply's record begins, and COMPOUND4res in it. */
  #start = 0;
  /** The writer's length at `start`: attachments of earlier replies in the batch count in it. */
  #startLength = 0;
  #resultsAt = 0;
  #countAt = 0;
  /** Where the result of the operation at hand begins. */
  #operationAt = 0;
  readonly #own = new XdrWriter(1024);
  readonly #resolved = (status: Status) => this.#resume(status);
  readonly #goOn = () => this.#execute();
  readonly #rejected = (error: unknown) => this.#resume(this.#failure(error));

  constructor(context: ServerContext) {
    this.context = context;
    this.writer = this.#own;
  }

  /**
   * Serves the request at `reader.position` (COMPOUND4args) and appends the whole reply record to the
   * writer, from `start` on; COMPOUND4res is to begin at the writer's position.
   */
  run(start: number): void {
    const { reader, writer } = this;
    this.#start = start;
    this.#startLength = writer.length - (writer.position - start);
    this.#resultsAt = writer.position;
    const tagAt = reader.position;
    const tagLength = reader.length(MAXIMUM_TAG);
    reader.skip(tagLength);
    this.minorVersion = reader.uint32();
    this.count = reader.uint32();
    writer.uint32(Status.OK);
    if (tagLength === 0) {
      writer.uint32(0);
    } else {
      writer.opaque(reader.buffer.subarray(tagAt + 4, tagAt + 4 + tagLength));
    }
    this.#countAt = writer.reserve(1);
    this.index = 0;
    this.node = this.savedNode = undefined;
    this.currentState = this.savedState = undefined;
    this.session = this.slot = this.client = undefined;
    this.cacheReply = false;
    this.admitted = this.context.gate === undefined;
    const maximumMinor = this.context.maximumMinorVersion;
    const minimumMinor = this.context.minimumMinorVersion;
    if (this.minorVersion > maximumMinor || this.minorVersion < minimumMinor) {
      this.#finish(Status.MINOR_VERS_MISMATCH);
      return;
    }
    if (this.count > MAXIMUM_OPERATIONS) {
      this.#finish(this.minorVersion === 0 ? Status.RESOURCE : Status.TOO_MANY_OPS);
      return;
    }
    if (this.minorVersion === 0) {
      this.#beginUnsequenced();
    } else {
      this.#execute();
    }
  }

  /** NFSv4.0: a request that comes again gets the reply that was kept. */
  #beginUnsequenced(): void {
    const { reader } = this;
    const request = reader.buffer.subarray(reader.position, reader.end);
    const slot = this.context.state.duplicates.find(this.xid, crc32(request));
    if (slot.busy) {
      slot.retryConnection = this.connection;
      slot.retryXid = this.xid;
      this.#finishReplay(NO_REPLY);
    } else if (slot.reply !== undefined) {
      this.replay = slot.reply;
      this.#finishReplay(REPLAYED_COMPOUND);
    } else {
      slot.busy = true;
      this.slot = slot;
      this.#execute();
    }
  }

  /** Who asks, as far as that is known: in NFSv4.0 many operations name no client. */
  get caller(): Client | undefined {
    return this.client ?? this.connection.soleClient;
  }

  /** Bytes that the reply's COMPOUND4res has so far; stays comparable across waits. */
  get replyLength(): number {
    return this.writer.position - this.#start;
  }

  /** Bytes of reply the client takes for the whole RPC message, and for one READDIR or READ in it. */
  get replyLimit(): number {
    return this.session?.fore.maxResponseSize ?? this.context.maximumRecord;
  }

  #execute(): void {
    while (this.index < this.count) {
      let result: MaybePromise<Status>;
      try {
        result = this.#step();
      } catch (error) {
        result = this.#failure(error);
      }
      if (typeof result !== "number") {
        this.#detach();
        result.then(this.#resolved, this.#rejected);
        return;
      }
      if (!this.#complete(result)) {
        return;
      }
      if (this.index % OPERATIONS_PER_TURN === 0 && this.index < this.count) {
        this.#detach();
        setImmediate(this.#goOn);
        return;
      }
    }
    this.#finish(Status.OK);
  }

  #resume(status: Status): void {
    if (this.#complete(status)) {
      this.#execute();
    }
  }

  /** Starts the next operation. */
  #step(): MaybePromise<Status> {
    const { writer, context } = this;
    this.#operationAt = writer.position;
    let operation: number = Operation.ILLEGAL;
    writer.uint32(operation);
    writer.uint32(0);
    operation = this.reader.uint32();
    if (operation < Operation.ACCESS || operation > LAST_OPERATION[this.minorVersion]!) {
      this.operation = Operation.ILLEGAL;
      return Status.OP_ILLEGAL;
    }
    this.operation = operation;
    writer.patch(this.#operationAt, operation);
    context.operationCounts[operation]!++;
    // A session says how long a reply may be; here one request could ask for hundreds of MiB.
    if (this.minorVersion === 0 && writer.length - this.#startLength > context.maximumRecord) {
      return Status.RESOURCE;
    }
    if (this.minorVersion > 0 && this.session === undefined && operation !== Operation.SEQUENCE) {
      if (!SOLO_OPERATIONS.has(operation)) {
        return Status.OP_NOT_IN_SESSION;
      }
      if (this.count !== 1) {
        return Status.NOT_ONLY_OP;
      }
    }
    const handler = context.operations[this.minorVersion]![operation];
    if (handler === undefined) {
      return Status.NOTSUPP;
    }
    return handler(this);
  }

  /** Puts the operation's status in its place. False when the compound is over; its reply is on its way. */
  #complete(result: Status): boolean {
    const { writer } = this;
    let status = result;
    if (status < 0) {
      if (status !== REPLAYED_OPERATION) {
        this.#finishReplay(status);
        return false;
      }
      writer.truncate(this.#operationAt);
      writer.raw(this.replay!);
      status = this.replay!.readUInt32BE(4);
      this.replay = undefined;
    } else {
      writer.patch(this.#operationAt + 4, status);
    }
    const session = this.session;
    if (session !== undefined) {
      const length = writer.length - this.#startLength;
      if (length > session.fore.maxResponseSize) {
        status = this.#replaceResult(Status.REP_TOO_BIG);
      } else if (this.cacheReply && length > session.fore.maxResponseSizeCached) {
        status = this.#replaceResult(Status.REP_TOO_BIG_TO_CACHE);
      }
    } else if (NOT_IDEMPOTENT.has(this.operation)) {
      this.cacheReply = true;
    }
    if (this.ownerSequence !== undefined) {
      this.#completeOwner(status);
    }
    this.index++;
    if (status === Status.OK) {
      return true;
    }
    this.#finish(status);
    return false;
  }

  #replaceResult(status: Status): Status {
    this.writer.truncate(this.#operationAt);
    this.writer.uint32(this.operation);
    this.writer.uint32(status);
    return status;
  }

  #completeOwner(status: Status): void {
    const sequence = this.ownerSequence!;
    this.ownerSequence = undefined;
    sequence.busy = false;
    if (KEEPS_SEQID.has(status)) {
      return;
    }
    sequence.seqid = (sequence.seqid + 1) >>> 0;
    sequence.started = true;
    sequence.reply = Buffer.from(this.writer.buffer.subarray(this.#operationAt, this.writer.position));
    sequence.replyNode = this.node;
  }

  /** The status for what an operation threw; its result is taken back. */
  #failure(error: unknown): Status {
    this.writer.truncate(this.#operationAt + 8);
    // SETATTR4res has the attributes that were set whatever the status is.
    if (this.operation === Operation.SETATTR) {
      this.writer.uint32(0);
    }
    if (error instanceof FileSystemError) {
      return error.status;
    }
    if (error instanceof XdrError) {
      return Status.BADXDR;
    }
    this.context.reportFault(error, this.operation);
    return Status.SERVERFAULT;
  }

  #finish(status: Status): void {
    const { writer, slot } = this;
    writer.patch(this.#resultsAt, status);
    writer.patch(this.#countAt, this.index);
    if (slot !== undefined) {
      slot.busy = false;
      const session = this.session;
      if (session !== undefined) {
        session.active--;
        session.client.renewedAt = this.context.state.now;
      }
      if (this.cacheReply || slot.retryConnection !== undefined) {
        this.#keepReply(slot);
      }
    }
    this.#end();
  }

  #keepReply(slot: Slot): void {
    const { writer } = this;
    const length = writer.length - this.#startLength - (this.#resultsAt - this.#start);
    const reply = Buffer.allocUnsafe(length);
    let at = 0;
    for (const segment of writer.segments(this.#resultsAt)) {
      reply.set(segment, at);
      at += segment.length;
    }
    if (slot.retryConnection !== undefined) {
      slot.retryConnection.sendReply(slot.retryXid, reply);
      slot.retryConnection = undefined;
    }
    // A session's client has agreed on how long such a reply may be.
    if (this.cacheReply && (this.session !== undefined || length <= MAXIMUM_KEPT_REPLY)) {
      slot.reply = reply;
    }
  }

  /** The whole reply is one that was given before, or none is to be given now. */
  #finishReplay(status: Status): void {
    const { writer } = this;
    if (status === NO_REPLY) {
      writer.truncate(this.#start);
    } else {
      writer.truncate(this.#resultsAt);
      writer.raw(this.replay!);
    }
    this.replay = undefined;
    this.#end();
  }

  #end(): void {
    const { connection, writer } = this;
    const detached = writer === this.#own;
    const length = writer.length - this.#startLength;
    if (length > 0) {
      writer.patch(this.#start, (0x8000_0000 | (length - 4)) >>> 0);
    }
    this.reader.clear();
    this.node = this.savedNode = undefined;
    this.currentState = this.savedState = undefined;
    this.session = this.slot = this.client = undefined;
    connection.finished(this, detached);
  }

  /** Leaves the connection's batch: replies that are ready go out before this one. */
  #detach(): void {
    if (this.writer === this.#own) {
      return;
    }
    const shift = this.#start;
    this.#own.clear();
    this.writer.moveTo(this.#own, shift);
    this.writer = this.#own;
    this.#start = this.#startLength = 0;
    this.#resultsAt -= shift;
    this.#countAt -= shift;
    this.#operationAt -= shift;
  }
}
