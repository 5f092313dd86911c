import type { XdrWriter } from "../../xdr/index.ts";
import { Attribute } from "../protocol/attribute.ts";

/** bitmap4 of the attribute numbers, as three words. */
function bitmap(numbers: readonly number[]): readonly [number, number, number] {
  const words: [number, number, number] = [0, 0, 0];
  for (const number of numbers) {
    words[number >> 5]! |= 1 << (number & 31);
  }
  return [words[0] >>> 0, words[1] >>> 0, words[2] >>> 0];
}

const A = Attribute;

/** Attributes that exist only from minor version 1 on, and those from 2 on. */
const SINCE_MINOR_1: readonly number[] = [A.SUPPATTR_EXCLCREAT, A.FS_CHARSET_CAP];
const SINCE_MINOR_2: readonly number[] = [
  A.CLONE_BLKSIZE,
  A.CHANGE_ATTR_TYPE,
  A.XATTR_SUPPORT,
  A.TIME_DELEG_ACCESS,
  A.TIME_DELEG_MODIFY,
  A.OPEN_ARGUMENTS,
];

const EVERYWHERE = Object.values(Attribute).filter(
  (number) =>
    !SINCE_MINOR_1.includes(number) &&
    !SINCE_MINOR_2.includes(number) &&
    number !== A.MODE_SET_MASKED &&
    number !== A.SPACE_FREED,
);

/** supported_attrs by minor version. */
export const SUPPORTED = [
  bitmap(EVERYWHERE),
  bitmap([...EVERYWHERE, ...SINCE_MINOR_1]),
  bitmap([...EVERYWHERE, ...SINCE_MINOR_1, ...SINCE_MINOR_2]),
] as const;

const SETTABLE_ALWAYS = [A.SIZE, A.MODE, A.OWNER, A.OWNER_GROUP, A.TIME_ACCESS_SET, A.TIME_MODIFY_SET];

/** What the creating operations may set. */
export const SETTABLE = bitmap(SETTABLE_ALWAYS);

/** What SETATTR may set: the times kept by the holder of a delegation, too. */
export const SETTABLE_LATER = bitmap([...SETTABLE_ALWAYS, A.TIME_DELEG_ACCESS, A.TIME_DELEG_MODIFY]);

/** Appends a bitmap4 without trailing zero words. */
export function writeBitmap(writer: XdrWriter, word0: number, word1: number, word2: number): void {
  const words = word2 !== 0 ? 3 : word1 !== 0 ? 2 : word0 !== 0 ? 1 : 0;
  writer.uint32(words);
  if (words > 0) {
    writer.uint32(word0);
  }
  if (words > 1) {
    writer.uint32(word1);
  }
  if (words > 2) {
    writer.uint32(word2);
  }
}
