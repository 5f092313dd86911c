import type { XdrReader, XdrWriter } from "../../xdr/index.ts";
import { Status } from "../protocol/status.ts";
import type { Delegation } from "../state/records.ts";

import { CallbackOperation, type RecallCall } from "./call.ts";

/**
 * Statuses after which CB_RECALL is worth another try: the client is busy, or the OPEN reply that tells it of
 * the delegation is still on its way.
 */
const AGAIN: ReadonlySet<Status> = new Set([Status.DELAY, Status.BAD_STATEID, Status.BADHANDLE]);

/** CB_RECALL (RFC 8881 §20.2): asks the client to return the delegation. */
export class Recall implements RecallCall {
  readonly operation = CallbackOperation.RECALL;
  readonly #delegation: Delegation;
  /** First word of the server's stateids. */
  readonly #instance: number;
  underWay = false;
  answeredForGood = false;

  constructor(delegation: Delegation, instance: number) {
    this.#delegation = delegation;
    this.#instance = instance;
  }

  get wanted(): boolean {
    return this.#delegation.isHeld;
  }

  encode(writer: XdrWriter): void {
    const delegation = this.#delegation;
    writer.uint32(delegation.seqid);
    writer.uint32(this.#instance);
    writer.uint32(delegation.index);
    writer.uint32(delegation.generation);
    writer.bool(false);
    writer.opaque(delegation.file.node.handle);
  }

  answered(status: Status, _reader: XdrReader): void {
    this.underWay = false;
    this.answeredForGood = !AGAIN.has(status);
  }

  failed(): void {
    this.underWay = false;
  }
}
