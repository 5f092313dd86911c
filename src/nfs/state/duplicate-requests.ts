import { Slot } from "./records.ts";

/** NFSv4.0 requests whose replies are kept, over all connections. */
const MAXIMUM_KEPT = 1024;

/**
 * NFSv4.0 has no slots: when a request comes again because its connection broke, only its xid and its bytes tell.
 */
export class DuplicateRequests {
  readonly #slots = new Map<number, Slot>();

  /** The request's slot: busy while the request is served, with a reply once it has been answered. */
  find(xid: number, checksum: number): Slot {
    let slot = this.#slots.get(xid);
    if (slot !== undefined && slot.requestChecksum === checksum) {
      return slot;
    }
    slot = new Slot();
    slot.requestChecksum = checksum;
    this.#slots.delete(xid);
    this.#slots.set(xid, slot);
    if (this.#slots.size > MAXIMUM_KEPT) {
      this.#slots.delete(this.#slots.keys().next().value!);
    }
    return slot;
  }
}
