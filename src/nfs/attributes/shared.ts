import type { XdrWriter } from "../../xdr/index.ts";
import { type FileSystemStatistics, hasExtendedAttributes } from "../file-system.ts";
import { Attribute } from "../protocol/attribute.ts";
import { Claim, CreateMode, MAXIMUM_IO, MAXIMUM_NAME, Share, Want } from "../protocol/constants.ts";
import type { ServerContext } from "../server-context.ts";
import { SETTABLE, SUPPORTED, writeBitmap } from "./bitmap.ts";

const MAXIMUM_LINKS = 0xffff_ffff;
/** NFS4_CHANGE_TYPE_IS_VERSION_COUNTER (RFC 7862 §12.2.3). */
const CHANGE_TYPE_IS_VERSION_COUNTER = 1;
/** FSCHARSET_CAP4_* (RFC 8881 §14.4). */
const FSCHARSET_CAP_CONTAINS_NON_UTF8 = 1;
const FSCHARSET_CAP_ALLOWS_ONLY_UTF8 = 2;

/**
 * open_arguments4 (RFC 9754 §3.1): bitmaps of the values that OPEN takes for share_access, share_deny, the wants in
 * share_access, the claim and the createmode. A want's bit number is the low byte's value, or its flag's position.
 */
const OPEN_ARGUMENTS: readonly number[] = [
  maskOf([Share.READ, Share.WRITE, Share.BOTH]),
  maskOf([Share.NONE, Share.READ, Share.WRITE, Share.BOTH]),
  maskOf([Want.ANY_DELEGATION >> 8, Want.NO_DELEGATION >> 8, Want.CANCEL >> 8]) |
    Want.DELEGATED_TIMESTAMPS |
    Want.OPEN_XOR_DELEGATION,
  maskOf([Claim.NULL, Claim.PREVIOUS, Claim.DELEGATE_CURRENT, Claim.FH, Claim.DELEGATE_CURRENT_FH]),
  maskOf(Object.values(CreateMode)),
];

function maskOf(bits: readonly number[]): number {
  let mask = 0;
  for (const place of bits) {
    mask |= 1 << place;
  }
  return mask;
}

/** Appends the attributes of `word`, which begins at number `base`, that are the same for every node. */
export function writeShared(
  base: number,
  word: number,
  writer: XdrWriter,
  context: ServerContext,
  minorVersion: number,
): void {
  for (let rest = word; rest !== 0; rest &= rest - 1) {
    writeFileSystemAttribute(base + 31 - Math.clz32(rest & -rest), writer, context, minorVersion);
  }
}

/** Attributes that are the same for every node. */
function writeFileSystemAttribute(
  attribute: number,
  writer: XdrWriter,
  context: ServerContext,
  minorVersion: number,
): void {
  switch (attribute) {
    case Attribute.SUPPORTED_ATTRS:
      writeBitmap(writer, ...SUPPORTED[minorVersion as 0 | 1 | 2]);
      break;
    case Attribute.SUPPATTR_EXCLCREAT:
      writeBitmap(writer, ...SETTABLE);
      break;
    case Attribute.XATTR_SUPPORT:
      // Linux asks once per mount, at the gate's root if there is one.
      writer.bool(hasExtendedAttributes(context.fileSystem.root));
      break;
    case Attribute.FH_EXPIRE_TYPE:
    case Attribute.ACLSUPPORT:
      writer.uint32(0);
      break;
    case Attribute.LINK_SUPPORT:
    case Attribute.SYMLINK_SUPPORT:
    case Attribute.CANSETTIME:
    case Attribute.CASE_PRESERVING:
    case Attribute.CHOWN_RESTRICTED:
    case Attribute.HOMOGENEOUS:
    case Attribute.NO_TRUNC:
    case Attribute.UNIQUE_HANDLES:
      writer.bool(true);
      break;
    case Attribute.NAMED_ATTR:
    case Attribute.CASE_INSENSITIVE:
      writer.bool(false);
      break;
    case Attribute.LEASE_TIME:
      writer.uint32(context.leaseSeconds);
      break;
    case Attribute.MAXLINK:
      writer.uint32(MAXIMUM_LINKS);
      break;
    case Attribute.MAXNAME:
      writer.uint32(MAXIMUM_NAME);
      break;
    case Attribute.MAXREAD:
    case Attribute.MAXWRITE:
      writer.uint64(MAXIMUM_IO);
      break;
    case Attribute.TIME_DELTA:
      writer.uint64(0);
      writer.uint32(1);
      break;
    case Attribute.CLONE_BLKSIZE:
      writer.uint32(1);
      break;
    case Attribute.OPEN_ARGUMENTS:
      for (const known of OPEN_ARGUMENTS) {
        writeBitmap(writer, known, 0, 0);
      }
      break;
    case Attribute.FS_CHARSET_CAP:
      writer.uint32(context.utf8Names ? FSCHARSET_CAP_ALLOWS_ONLY_UTF8 : FSCHARSET_CAP_CONTAINS_NON_UTF8);
      break;
    case Attribute.CHANGE_ATTR_TYPE:
      writer.uint32(CHANGE_TYPE_IS_VERSION_COUNTER);
      break;
    default:
      writer.uint64(statistic(attribute, context.fileSystem.statistics()));
  }
}

function statistic(attribute: number, statistics: FileSystemStatistics): number {
  switch (attribute) {
    case Attribute.FILES_AVAIL:
      return statistics.availableFiles;
    case Attribute.FILES_FREE:
      return statistics.freeFiles;
    case Attribute.FILES_TOTAL:
      return statistics.totalFiles;
    case Attribute.SPACE_AVAIL:
      return statistics.availableSpace;
    case Attribute.SPACE_FREE:
      return statistics.freeSpace;
    case Attribute.SPACE_TOTAL:
      return statistics.totalSpace;
    case Attribute.MAXFILESIZE:
      return statistics.maximumFileSize;
    default:
      throw new Error(`attribute ${attribute} is said to be supported, but has no encoder`);
  }
}
