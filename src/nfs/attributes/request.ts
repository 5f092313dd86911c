import type { XdrReader } from "../../xdr/index.ts";
import { Attribute } from "../protocol/attribute.ts";

const MAXIMUM_BITMAP_WORDS = 64;
/** Attributes that can be set but not read, in the second and the third word. */
export const SET_ONLY_WORD1 =
  (1 << (Attribute.TIME_ACCESS_SET - 32)) | (1 << (Attribute.TIME_MODIFY_SET - 32));
export const SET_ONLY_WORD2 =
  (1 << (Attribute.TIME_DELEG_ACCESS - 64)) | (1 << (Attribute.TIME_DELEG_MODIFY - 64));

/** A requested bitmap4. Words after the third name no attribute that we know. */
export class AttributeRequest {
  word0 = 0;
  word1 = 0;
  word2 = 0;

  read(reader: XdrReader): void {
    const words = reader.length(MAXIMUM_BITMAP_WORDS);
    this.word0 = words > 0 ? reader.uint32() : 0;
    this.word1 = words > 1 ? reader.uint32() : 0;
    this.word2 = words > 2 ? reader.uint32() : 0;
    for (let index = 3; index < words; index++) {
      reader.uint32();
    }
  }

  /** Whether it asks for attributes that can only be set (RFC 8881 §5.5, RFC 9754 §5), which is an error. */
  hasWriteOnly(minorVersion: number): boolean {
    return (this.word1 & SET_ONLY_WORD1) !== 0 || (minorVersion > 1 && (this.word2 & SET_ONLY_WORD2) !== 0);
  }

  has(attribute: number): boolean {
    const word = attribute < 32 ? this.word0 : attribute < 64 ? this.word1 : this.word2;
    return (word & (1 << (attribute & 31))) !== 0;
  }
}
