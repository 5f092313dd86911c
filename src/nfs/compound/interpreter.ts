import { XdrError, type XdrWriter } from "../../xdr/index.ts";
import { FileSystemError, type MaybePromise, type Node } from "../file-system.ts";
import { LAST_OPERATION, Operation } from "../protocol/operation.ts";
import { Status } from "../protocol/status.ts";
import type { ServerContext } from "../server-context.ts";
import { Compound, type OperationHandler, type OperationTable } from "./compound.ts";
import {
  beginUnsequenced,
  completeOwner,
  completeSlot,
  NO_REPLY,
  NOT_IDEMPOTENT,
  REPLAYED_OPERATION,
} from "./kept-replies.ts";

const SOLO_OPERATIONS: ReadonlySet<number> = new Set([
  Operation.EXCHANGE_ID,
  Operation.CREATE_SESSION,
  Operation.DESTROY_SESSION,
  Operation.BIND_CONN_TO_SESSION,
  Operation.DESTROY_CLIENTID,
]);
/** In NFSv4.0 nothing else limits a compound. */
const MAXIMUM_OPERATIONS = 512;
/** After these, others have their turn: an operation may take milliseconds if a client holds as much as it may. */
const OPERATIONS_PER_TURN = 8;
const MAXIMUM_TAG = 4096;

/** Called when a compound's reply is complete: in the batch, or (`detached`) in a writer of its own. */
export type OnFinished = (interpreter: Interpreter, detached: boolean) => void;

/** Runs the operations of a COMPOUND request in order and composes its reply. Reused for the next request. */
export class Interpreter extends Compound {
  readonly #operations: OperationTable;
  #onFinished!: OnFinished;
  #operation = 0;
  /** The writer's length at `replyStart`, which includes attachments of earlier replies in the batch. */
  #startLength = 0;
  /** Where COMPOUND4res and its count of results are. */
  #resultsAt = 0;
  #countAt = 0;
  /** Where the result of the current operation begins. */
  #operationAt = 0;
  /** When the current operation began, if it is timed; when it began to wait, if it does. Milliseconds. */
  #startedAt = 0;
  #isTimed = false;
  readonly #resolved = (status: Status) => this.#resume(status);
  readonly #rejected = (error: unknown) => this.#resume(this.#failure(error));
  readonly #goOn = () => this.#execute();

  constructor(context: ServerContext, operations: OperationTable) {
    super(context);
    this.#operations = operations;
  }

  /**
   * Serves the request at `reader.position` (COMPOUND4args) and appends the reply record to `batch`: it begins at
   * `replyStart`, and COMPOUND4res at the batch's position. True if the reply is complete; else something must be
   * waited for, and `onFinished` gets the reply later, in a writer of its own.
   */
  run(batch: XdrWriter, replyStart: number, onFinished: OnFinished): boolean {
    const { reader } = this;
    this.writer = batch;
    this.#onFinished = onFinished;
    this.replyStart = replyStart;
    this.#startLength = batch.length - (batch.position - replyStart);
    this.#resultsAt = batch.position;
    const tagAt = reader.position;
    const tagLength = reader.length(MAXIMUM_TAG);
    reader.skip(tagLength);
    this.minorVersion = reader.uint32();
    this.count = reader.uint32();
    batch.uint32(Status.OK);
    if (tagLength === 0) {
      batch.uint32(0);
    } else {
      batch.opaque(reader.buffer.subarray(tagAt + 4, tagAt + 4 + tagLength));
    }
    this.#countAt = batch.reserve(1);
    this.index = 0;
    this.cacheReply = false;
    const { context, minorVersion } = this;
    this.#isTimed = context.statistics.timesNext;
    this.admitted = context.gate === undefined;
    if (minorVersion > context.maximumMinorVersion || minorVersion < context.minimumMinorVersion) {
      this.#finish(Status.MINOR_VERS_MISMATCH);
    } else if (this.count > MAXIMUM_OPERATIONS) {
      this.#finish(minorVersion === 0 ? Status.RESOURCE : Status.TOO_MANY_OPS);
    } else {
      const status = minorVersion === 0 ? beginUnsequenced(this) : Status.OK;
      if (status === Status.OK) {
        this.#execute();
      } else {
        this.#finishReplay(status);
      }
    }
    return this.writer === batch;
  }

  #execute(): void {
    const { statistics } = this.context;
    if (this.#isTimed) {
      this.#startedAt = performance.now();
    }
    while (this.index < this.count) {
      let result: MaybePromise<Status>;
      try {
        result = this.#step();
      } catch (error) {
        result = this.#failure(error);
      }
      if (typeof result !== "number") {
        this.#detach();
        this.#startedAt = performance.now();
        statistics.waits();
        result.then(this.#resolved, this.#rejected);
        return;
      }
      if (this.#isTimed) {
        const now = performance.now();
        statistics.took(this.minorVersion, this.#operation, now - this.#startedAt);
        this.#startedAt = now;
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
    this.context.statistics.waited(this.minorVersion, this.#operation, performance.now() - this.#startedAt);
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
      this.#operation = Operation.ILLEGAL;
      return Status.OP_ILLEGAL;
    }
    this.#operation = operation;
    writer.patch(this.#operationAt, operation);
    // A session limits the reply's length; without one, a request could ask for hundreds of MiB.
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
    const handler = this.#operations[this.minorVersion]![operation];
    if (handler === undefined) {
      return Status.NOTSUPP;
    }
    return context.refresh === undefined ? handler(this) : this.#afterRefresh(context.refresh, handler);
  }

  /** Fetches attributes that are kept elsewhere before an operation looks at them. */
  async #afterRefresh(
    refresh: (node: Node) => MaybePromise<void>,
    handler: OperationHandler,
  ): Promise<Status> {
    for (const node of [this.savedNode, this.node]) {
      if (node !== undefined && node !== this.context.gate?.root) {
        await refresh(node);
      }
    }
    return handler(this);
  }

  /** Puts the operation's status in place. False if the compound is over and its reply on the way. */
  #complete(result: Status): boolean {
    const { writer, session } = this;
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
    if (session !== undefined) {
      const length = writer.length - this.#startLength;
      if (length > session.fore.maxResponseSize) {
        status = this.#replaceResult(Status.REP_TOO_BIG);
      } else if (this.cacheReply && length > session.fore.maxResponseSizeCached) {
        status = this.#replaceResult(Status.REP_TOO_BIG_TO_CACHE);
      }
    } else if (NOT_IDEMPOTENT.has(this.#operation)) {
      this.cacheReply = true;
    }
    if (this.ownerSequence !== undefined) {
      completeOwner(this, status, this.#operationAt);
    }
    this.index++;
    this.context.statistics.ended(this.minorVersion, this.#operation, status);
    if (status === Status.OK) {
      return true;
    }
    this.#finish(status);
    return false;
  }

  #replaceResult(status: Status): Status {
    this.writer.truncate(this.#operationAt);
    this.writer.uint32(this.#operation);
    this.writer.uint32(status);
    return status;
  }

  /** The status for what an operation threw; its result is discarded. */
  #failure(error: unknown): Status {
    this.writer.truncate(this.#operationAt + 8);
    // SETATTR4res lists the attributes that were set, whatever the status.
    if (this.#operation === Operation.SETATTR) {
      this.writer.uint32(0);
    }
    if (error instanceof FileSystemError) {
      return error.status;
    }
    if (error instanceof XdrError) {
      return Status.BADXDR;
    }
    this.context.reportFault(error, this.#operation);
    return Status.SERVERFAULT;
  }

  #finish(status: Status): void {
    const { writer, slot } = this;
    writer.patch(this.#resultsAt, status);
    writer.patch(this.#countAt, this.index);
    if (slot !== undefined) {
      const header = this.#resultsAt - this.replyStart;
      completeSlot(this, slot, this.#resultsAt, writer.length - this.#startLength - header);
    }
    this.#end();
  }

  /** The whole reply is one that was given before, or none is due now. */
  #finishReplay(status: Status): void {
    const { writer } = this;
    if (status === NO_REPLY) {
      writer.truncate(this.replyStart);
    } else {
      writer.truncate(this.#resultsAt);
      writer.raw(this.replay!);
    }
    this.replay = undefined;
    this.#end();
  }

  #end(): void {
    const { writer } = this;
    const length = writer.length - this.#startLength;
    if (length > 0) {
      writer.patch(this.replyStart, (0x8000_0000 | (length - 4)) >>> 0);
    }
    this.reader.clear();
    this.#forget();
    this.#onFinished(this, writer === this.own);
  }

  #forget(): void {
    this.node = this.savedNode = undefined;
    this.currentState = this.savedState = undefined;
    this.session = this.slot = this.client = undefined;
    this.stateid.state = undefined;
  }

  /** Leaves the connection's batch, so that replies that are ready go out before this one. */
  #detach(): void {
    if (this.writer === this.own) {
      return;
    }
    const shift = this.replyStart;
    this.own.clear();
    this.writer.moveTo(this.own, shift);
    this.writer = this.own;
    this.replyStart = this.#startLength = 0;
    this.#resultsAt -= shift;
    this.#countAt -= shift;
    this.#operationAt -= shift;
  }
}
