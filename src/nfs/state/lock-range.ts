import type { XdrReader } from "../../xdr/index.ts";
import { Status } from "../protocol/status.ts";
import { type LockOffset, plus } from "./lock-offset.ts";

const LARGEST = 2n ** 64n - 1n;

/** offset and length of LOCK, LOCKT and LOCKU, as start and end (after the last byte; Infinity for "all"). */
export class LockRange {
  start: LockOffset = 0;
  end: LockOffset = 0;

  /** OK, or INVAL for a length of 0 or a range that ends beyond 2^64-1 (RFC 8881 §18.10.3). */
  read(reader: XdrReader): Status {
    this.start = reader.exactUint64();
    const length = reader.exactUint64();
    if (length === 0) {
      return Status.INVAL;
    }
    if (length === LARGEST) {
      this.end = Number.POSITIVE_INFINITY;
      return Status.OK;
    }
    this.end = plus(this.start, length);
    return typeof this.end === "bigint" && this.end > LARGEST ? Status.INVAL : Status.OK;
  }
}
