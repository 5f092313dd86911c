import { XdrError, type XdrReader, type XdrWriter } from "../../xdr/index.ts";
import { writeBitmap } from "../attributes/bitmap.ts";
import { MAXIMUM_FILE_SIZE, type Timestamp } from "../file-system.ts";
import { Attribute } from "../protocol/attribute.ts";
import { Status } from "../protocol/status.ts";
import type { Delegation } from "../state/records.ts";

import { type CallbackCall, CallbackOperation } from "./call.ts";

/** What the holder of a WRITE delegation says of the file. */
export interface HoldersAttributes {
  readonly change: number;
  /** Bytes. */
  readonly size: number;
  /** Present if the holder keeps the times (RFC 9754 §5). */
  readonly accessTime: Timestamp | undefined;
  readonly modifyTime: Timestamp | undefined;
}

const MAXIMUM_BITMAP_WORDS = 64;
const MAXIMUM_ATTRIBUTES = 1024;
const WORD_0 = (1 << Attribute.CHANGE) | (1 << Attribute.SIZE);
const ACCESS = 1 << (Attribute.TIME_DELEG_ACCESS - 64);
const MODIFY = 1 << (Attribute.TIME_DELEG_MODIFY - 64);

/** CB_GETATTR (RFC 8881 §20.1) of change, size and, if the holder keeps them, the times. */
export class GetAttributes implements CallbackCall {
  readonly operation = CallbackOperation.GETATTR;
  wanted = true;
  readonly #delegation: Delegation;
  readonly #done: (attributes: HoldersAttributes | undefined) => void;

  /** `done` is called once, with undefined if no sensible answer came. */
  constructor(delegation: Delegation, done: (attributes: HoldersAttributes | undefined) => void) {
    this.#delegation = delegation;
    this.#done = done;
  }

  get #word2(): number {
    return this.#delegation.timestamps ? ACCESS | MODIFY : 0;
  }

  encode(writer: XdrWriter): void {
    writer.opaque(this.#delegation.file.node.handle);
    writeBitmap(writer, WORD_0, 0, this.#word2);
  }

  answered(status: Status, reader: XdrReader): void {
    this.#settle(status === Status.OK ? this.#read(reader) : undefined);
  }

  failed(): void {
    this.#settle(undefined);
  }

  /** An answer that still comes is of no use any more. */
  giveUp(): void {
    this.#settle(undefined);
  }

  #settle(attributes: HoldersAttributes | undefined): void {
    if (!this.wanted) {
      return;
    }
    this.wanted = false;
    this.#done(attributes);
  }

  /** Reads an fattr4 with change, size and whichever times the holder gave. */
  #read(reader: XdrReader): HoldersAttributes {
    const words = [0, 0, 0];
    const count = reader.length(MAXIMUM_BITMAP_WORDS);
    for (let index = 0; index < count; index++) {
      words[index] = reader.uint32();
    }
    const word2 = words[2]!;
    if (words[0] !== WORD_0 || words[1] !== 0 || (word2 & ~this.#word2) !== 0 || words.length > 3) {
      throw new XdrError("CB_GETATTR was answered with other attributes than it asked for");
    }
    const end = reader.length(MAXIMUM_ATTRIBUTES) + reader.position;
    const change = reader.uint64();
    const size = reader.uint64();
    const accessTime = (word2 & ACCESS) !== 0 ? readTime(reader) : undefined;
    const modifyTime = (word2 & MODIFY) !== 0 ? readTime(reader) : undefined;
    if (reader.position !== end) {
      throw new XdrError("the attribute values do not fill the length given");
    }
    if (size > MAXIMUM_FILE_SIZE) {
      throw new XdrError(`expected a size below 2^53, got ${size}`);
    }
    return { change, size, accessTime, modifyTime };
  }
}

function readTime(reader: XdrReader): Timestamp {
  const time = { seconds: reader.int64(), nanoseconds: reader.uint32() };
  if (time.nanoseconds >= 1e9 || !Number.isSafeInteger(time.seconds)) {
    throw new XdrError(`expected a time, got ${time.seconds} s and ${time.nanoseconds} ns`);
  }
  return time;
}
