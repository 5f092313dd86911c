import type { XdrReader } from "../xdr/index.ts";
import { Status } from "./protocol/status.ts";

/** offset and length of LOCK, LOCKT and LOCKU, as start and end (behind the last byte; Infinity for "all"). */
export class LockRange {
  start = 0;
  end = 0;

  /** OK, or INVAL for a length of 0 or a range that ends beyond 2^64-1 (RFC 8881 §18.10.3). */
  read(reader: XdrReader): Status {
    const offsetHigh = reader.uint32();
    const offsetLow = reader.uint32();
    const lengthHigh = reader.uint32();
    const lengthLow = reader.uint32();
    this.start = offsetHigh * 0x1_0000_0000 + offsetLow;
    const length = lengthHigh * 0x1_0000_0000 + lengthLow;
    if (length === 0) return Status.INVAL;
    if (lengthHigh === 0xffff_ffff && lengthLow === 0xffff_ffff) {
      this.end = Number.POSITIVE_INFINITY;
      return Status.OK;
    }
    const carry = offsetLow + lengthLow > 0xffff_ffff ? 1 : 0;
    if (offsetHigh + lengthHigh + carry > 0xffff_ffff) return Status.INVAL;
    this.end = this.start + length;
    return Status.OK;
  }
}
