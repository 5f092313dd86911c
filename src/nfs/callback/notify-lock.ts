import type { XdrWriter } from "../../xdr/index.ts";
import type { LockWaiter } from "../state/records.ts";

import { type CallbackCall, CallbackOperation } from "./call.ts";

/** CB_NOTIFY_LOCK (RFC 8881 §20.11): a lock that was denied may now be free. Only a hint: losing it is harmless. */
export class NotifyLock implements CallbackCall {
  readonly operation = CallbackOperation.NOTIFY_LOCK;
  readonly wanted = true;
  readonly #handle: Uint8Array;
  readonly #waiter: LockWaiter;
  /** High half of the server's clientids. */
  readonly #instance: number;

  constructor(handle: Uint8Array, waiter: LockWaiter, instance: number) {
    this.#handle = handle;
    this.#waiter = waiter;
    this.#instance = instance;
  }

  encode(writer: XdrWriter): void {
    writer.opaque(this.#handle);
    writer.uint32(this.#instance);
    writer.uint32(this.#waiter.client.id);
    writer.latin1(this.#waiter.ownerKey);
  }

  answered(): void {}

  failed(): void {}
}
