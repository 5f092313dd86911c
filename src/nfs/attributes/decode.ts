import { XdrError, type XdrReader } from "../../xdr/index.ts";
import { type AttributeChanges, MAXIMUM_FILE_SIZE, type Timestamp } from "../file-system.ts";
import { Attribute } from "../protocol/attribute.ts";
import { Status } from "../protocol/status.ts";
import { SETTABLE, SUPPORTED } from "./bitmap.ts";

const MAXIMUM_BITMAP_WORDS = 64;
const MAXIMUM_ATTRIBUTES = 64 * 1024;
const MAXIMUM_OWNER = 1024;
const MAXIMUM_ID = 0xffff_fffe;
const SET_TO_SERVER_TIME = 0;
const SET_TO_CLIENT_TIME = 1;

/** The settable attributes of an fattr4, with the bitmap that names them. */
export class ChangeRequest {
  changes: AttributeChanges = {};
  word0 = 0;
  word1 = 0;
  word2 = 0;
  /** The times that the holder of a delegation has kept (RFC 9754 §5). */
  heldAccessTime: Timestamp | undefined;
  heldModifyTime: Timestamp | undefined;

  clear(): void {
    this.changes = {};
    this.word0 = this.word1 = this.word2 = 0;
    this.heldAccessTime = this.heldModifyTime = undefined;
  }

  /**
   * Returns OK, ATTRNOTSUPP for an attribute we do not have, INVAL for one that cannot be set, BADOWNER for an owner
   * that is not a number, or FBIG for a size that no file can have; whichever it is, the whole fattr4 has been read.
   * Throws XdrError. `settable`: the bitmap of what may be set here.
   */
  read(reader: XdrReader, minorVersion: number, settable: readonly number[] = SETTABLE): Status {
    this.clear();
    const words = reader.length(MAXIMUM_BITMAP_WORDS);
    let status: Status = Status.OK;
    for (let index = 0; index < words; index++) {
      const word = reader.uint32();
      if (index === 0) {
        this.word0 = word;
      } else if (index === 1) {
        this.word1 = word;
      } else if (index === 2) {
        this.word2 = word;
      }
      const known = (settable[index] ?? 0) & (SUPPORTED[minorVersion as 0 | 1 | 2][index as 0 | 1 | 2] ?? 0);
      if ((word & ~known) === 0 || status === Status.ATTRNOTSUPP) {
        continue;
      }
      const supported = SUPPORTED[minorVersion as 0 | 1 | 2][index as 0 | 1 | 2] ?? 0;
      status = (word & ~supported) !== 0 ? Status.ATTRNOTSUPP : Status.INVAL;
    }
    const length = reader.length(MAXIMUM_ATTRIBUTES);
    const end = reader.position + length;
    if (status !== Status.OK) {
      reader.skip(length);
      return status;
    }
    status = this.#readValues(reader);
    if (reader.position !== end) {
      throw new XdrError("the attribute values do not fill the length given");
    }
    return status;
  }

  #readValues(reader: XdrReader): Status {
    const { changes, word0, word1 } = this;
    let status: Status = Status.OK;
    if (word0 & (1 << Attribute.SIZE)) {
      changes.size = reader.uint64();
      if (changes.size > MAXIMUM_FILE_SIZE) {
        status = Status.FBIG;
      }
    }
    if (word1 & (1 << (Attribute.MODE - 32))) {
      changes.mode = reader.uint32();
      if (changes.mode > 0o7777) {
        status = Status.INVAL;
      }
    }
    if (word1 & (1 << (Attribute.OWNER - 32))) {
      const owner = reader.latin1(MAXIMUM_OWNER);
      changes.userId = parseId(owner);
      if (changes.userId < 0) {
        status = owner === "" ? Status.INVAL : Status.BADOWNER;
      }
    }
    if (word1 & (1 << (Attribute.OWNER_GROUP - 32))) {
      const group = reader.latin1(MAXIMUM_OWNER);
      changes.groupId = parseId(group);
      if (changes.groupId < 0) {
        status = group === "" ? Status.INVAL : Status.BADOWNER;
      }
    }
    if (word1 & (1 << (Attribute.TIME_ACCESS_SET - 32))) {
      changes.accessTime = readTime(reader);
      if (isInvalid(changes.accessTime)) {
        status = Status.INVAL;
      }
    }
    if (word1 & (1 << (Attribute.TIME_MODIFY_SET - 32))) {
      changes.modifyTime = readTime(reader);
      if (isInvalid(changes.modifyTime)) {
        status = Status.INVAL;
      }
    }
    if (this.word2 !== 0 && !this.#readHeldTimes(reader)) {
      status = Status.INVAL;
    }
    return status;
  }

  /** False if one of them is not a valid time, or the same request also sets it to something else. */
  #readHeldTimes(reader: XdrReader): boolean {
    const { changes, word2 } = this;
    if (word2 & (1 << (Attribute.TIME_DELEG_ACCESS - 64))) {
      this.heldAccessTime = { seconds: reader.int64(), nanoseconds: reader.uint32() };
      if (isInvalid(this.heldAccessTime) || changes.accessTime !== undefined) {
        return false;
      }
    }
    if (word2 & (1 << (Attribute.TIME_DELEG_MODIFY - 64))) {
      this.heldModifyTime = { seconds: reader.int64(), nanoseconds: reader.uint32() };
      if (isInvalid(this.heldModifyTime) || changes.modifyTime !== undefined) {
        return false;
      }
    }
    return true;
  }
}

function readTime(reader: XdrReader): Timestamp | "now" {
  const how = reader.uint32();
  if (how === SET_TO_SERVER_TIME) {
    return "now";
  }
  if (how !== SET_TO_CLIENT_TIME) {
    throw new XdrError(`expected a time_how4, got ${how}`);
  }
  return { seconds: reader.int64(), nanoseconds: reader.uint32() };
}

function isInvalid(time: Timestamp | "now"): boolean {
  return time !== "now" && (time.nanoseconds >= 1e9 || !Number.isSafeInteger(time.seconds));
}

/** Users and groups are numbers in decimal (RFC 8881 §5.9); -1 for anything else. */
function parseId(text: string): number {
  if (!/^(0|[1-9][0-9]{0,9})$/.test(text)) {
    return -1;
  }
  const id = Number(text);
  return id <= MAXIMUM_ID ? id : -1;
}
