import { Slot } from "./records.ts";

/** Requests of NFSv4.0 whose replies are kept, over all connections. */
const MAXIMUM_KEPT = 1024;

/**
 * NFSv4.0 has no slots, so that a request which comes again, because its connection broke, is known by its xid
 * and its bytes alone.
 */
export class DuplicateRequests {
  readonly #slots = new Map<number, Slot>();

  /** The place of the request: with a reply where it has been answered, busy while it is served. */
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
