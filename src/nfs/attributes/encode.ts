import type { XdrReader, XdrWriter } from "../../xdr/index.ts";
import {
  type Attributes,
  type FileSystemStatistics,
  FileType,
  hasExtendedAttributes,
  type Node,
  type Offset,
  type Timestamp,
} from "../file-system.ts";
import { Attribute } from "../protocol/attribute.ts";
import { Claim, CreateMode, MAXIMUM_IO, MAXIMUM_NAME, Share, Want } from "../protocol/constants.ts";
import type { ServerContext } from "../server-context.ts";
import { SETTABLE, SUPPORTED } from "./bitmap.ts";

const MAXIMUM_BITMAP_WORDS = 64;
const MAXIMUM_LINKS = 0xffff_ffff;
/** NFS4_CHANGE_TYPE_IS_VERSION_COUNTER (RFC 7862 §12.2.3). */
const CHANGE_TYPE_IS_VERSION_COUNTER = 1;
/** FSCHARSET_CAP4_* (RFC 8881 §14.4). */
const FSCHARSET_CAP_CONTAINS_NON_UTF8 = 1;
const FSCHARSET_CAP_ALLOWS_ONLY_UTF8 = 2;
/** All nodes are of one file system, the gate's root included: no mount within the mount. */
const FILE_SYSTEM_ID = 1;

/**
 * open_arguments4 (RFC 9754 §3.1): which values OPEN takes for share_access, share_deny, the wants in share_access,
 * the claim and the createmode, as bitmaps. The bit of a want is the low byte's value, or the place of its flag.
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

/** A requested bitmap4. Words behind the third name no attribute that we know. */
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

  /** Asks for what can only be set (RFC 8881 §5.5, RFC 9754 §5): an error. */
  hasWriteOnly(minorVersion: number): boolean {
    return (this.word1 & SET_ONLY_WORD1) !== 0 || (minorVersion > 1 && (this.word2 & SET_ONLY_WORD2) !== 0);
  }

  has(attribute: number): boolean {
    const word = attribute < 32 ? this.word0 : attribute < 64 ? this.word1 : this.word2;
    return (word & (1 << (attribute & 31))) !== 0;
  }
}

/** Appends fattr4: those of the requested attributes that the minor version has. */
export function writeAttributes(
  writer: XdrWriter,
  request: AttributeRequest,
  node: Node,
  attributes: Attributes,
  context: ServerContext,
  minorVersion: number,
): void {
  const supported = SUPPORTED[minorVersion as 0 | 1 | 2];

  const word0 = (request.word0 & supported[0]) >>> 0;
  const word1 = (request.word1 & supported[1] & ~SET_ONLY_WORD1) >>> 0;
  const word2 = (request.word2 & supported[2] & ~SET_ONLY_WORD2) >>> 0;
  writeBitmap(writer, word0, word1, word2);
  const lengthAt = writer.reserve(1);
  const start = writer.position;
  if (word0 !== 0) {
    writeWord0(word0, writer, node, attributes, context, minorVersion);
  }
  if (word1 !== 0) {
    writeWord1(word1, writer, node, attributes, context, minorVersion);
  }
  if (word2 !== 0) {
    writeShared(64, word2, writer, context, minorVersion);
  }
  writer.patch(lengthAt, writer.position - start);
}

/** fattr4 of an entry whose attributes cannot be had: rdattr_error alone, where it is asked for. */
export function writeAttributeError(writer: XdrWriter, status: number): void {
  writeBitmap(writer, 1 << Attribute.RDATTR_ERROR, 0, 0);
  writer.uint32(4);
  writer.uint32(status);
}

const SET_ONLY_WORD1 = (1 << (Attribute.TIME_ACCESS_SET - 32)) | (1 << (Attribute.TIME_MODIFY_SET - 32));

const SET_ONLY_WORD2 = (1 << (Attribute.TIME_DELEG_ACCESS - 64)) | (1 << (Attribute.TIME_DELEG_MODIFY - 64));

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

/** More bytes than all attributes of a node take. */
const ROOM = 512;

/** Mask of an attribute in its word. */
function bit(attribute: number): number {
  return 1 << (attribute & 31);
}

/** Mask of the attributes from `first` to before `end`, in one word. */
function range(first: number, end: number): number {
  let mask = 0;
  for (let attribute = first; attribute < end; attribute++) {
    mask |= bit(attribute);
  }
  return mask;
}

const TYPE = bit(Attribute.TYPE);
const CHANGE = bit(Attribute.CHANGE);
const SIZE = bit(Attribute.SIZE);
const FSID = bit(Attribute.FSID);
const RDATTR_ERROR = bit(Attribute.RDATTR_ERROR);
const FILEHANDLE = bit(Attribute.FILEHANDLE);
const FILEID = bit(Attribute.FILEID);
const MODE = bit(Attribute.MODE);
const NUMLINKS = bit(Attribute.NUMLINKS);
const OWNER = bit(Attribute.OWNER);
const OWNER_GROUP = bit(Attribute.OWNER_GROUP);
const RAWDEV = bit(Attribute.RAWDEV);
const SPACE_USED = bit(Attribute.SPACE_USED);
const TIME_ACCESS = bit(Attribute.TIME_ACCESS);
const TIME_METADATA = bit(Attribute.TIME_METADATA);
const TIME_MODIFY = bit(Attribute.TIME_MODIFY);
const MOUNTED_ON_FILEID = bit(Attribute.MOUNTED_ON_FILEID);

/** The file system's attributes, as they lie between those of the node. */
const BEFORE_TYPE = range(Attribute.SUPPORTED_ATTRS, Attribute.TYPE);
const BEFORE_CHANGE = range(Attribute.FH_EXPIRE_TYPE, Attribute.CHANGE);
const BEFORE_FSID = range(Attribute.LINK_SUPPORT, Attribute.FSID);
const BEFORE_RDATTR_ERROR = range(Attribute.UNIQUE_HANDLES, Attribute.RDATTR_ERROR);
const BEFORE_FILEHANDLE = range(Attribute.ACLSUPPORT, Attribute.FILEHANDLE);
const LAST_OF_WORD_0 = range(Attribute.FILES_AVAIL, 32);
const BEFORE_MODE = range(32, Attribute.MODE);
const BEFORE_NUMLINKS = range(Attribute.NO_TRUNC, Attribute.NUMLINKS);
const BEFORE_SPACE_USED = range(Attribute.SPACE_AVAIL, Attribute.SPACE_USED);
const BEFORE_TIME_METADATA = range(Attribute.TIME_DELTA, Attribute.TIME_METADATA);

/*
 * A test of each attribute's bit in turn, and not a loop over the bits with a switch in it: READDIR of a large
 * directory took a third longer with one.
 */

function writeWord0(
  word: number,
  writer: XdrWriter,
  node: Node,
  attributes: Attributes,
  context: ServerContext,
  minorVersion: number,
): void {
  if ((word & BEFORE_TYPE) !== 0) {
    writeShared(0, word & BEFORE_TYPE, writer, context, minorVersion);
  }
  let view = writer.room(ROOM);
  let at = writer.position;
  if ((word & TYPE) !== 0) {
    view.setUint32(at, node.type);
    at += 4;
  }
  if ((word & BEFORE_CHANGE) !== 0) {
    writer.position = at;
    writeShared(0, word & BEFORE_CHANGE, writer, context, minorVersion);
    view = writer.room(ROOM);
    at = writer.position;
  }
  if ((word & CHANGE) !== 0) {
    at = putUint64(view, at, attributes.change);
  }
  if ((word & SIZE) !== 0) {
    at = putSize(view, at, attributes);
  }
  if ((word & BEFORE_FSID) !== 0) {
    writer.position = at;
    writeShared(0, word & BEFORE_FSID, writer, context, minorVersion);
    view = writer.room(ROOM);
    at = writer.position;
  }
  if ((word & FSID) !== 0) {
    at = putUint64(view, at, FILE_SYSTEM_ID);
    at = putUint64(view, at, 0);
  }
  writer.position = at;
  if ((word & BEFORE_RDATTR_ERROR) !== 0) {
    writeShared(0, word & BEFORE_RDATTR_ERROR, writer, context, minorVersion);
  }
  if ((word & RDATTR_ERROR) !== 0) {
    writer.uint32(0);
  }
  if ((word & BEFORE_FILEHANDLE) !== 0) {
    writeShared(0, word & BEFORE_FILEHANDLE, writer, context, minorVersion);
  }
  if ((word & FILEHANDLE) !== 0) {
    writer.opaque(node.handle);
  }
  if ((word & FILEID) !== 0) {
    writer.uint64(attributes.fileId);
  }
  if ((word & LAST_OF_WORD_0) !== 0) {
    writeShared(0, word & LAST_OF_WORD_0, writer, context, minorVersion);
  }
}

function writeWord1(
  word: number,
  writer: XdrWriter,
  node: Node,
  attributes: Attributes,
  context: ServerContext,
  minorVersion: number,
): void {
  if ((word & BEFORE_MODE) !== 0) {
    writeShared(32, word & BEFORE_MODE, writer, context, minorVersion);
  }
  if ((word & MODE) !== 0) {
    writer.uint32(attributes.mode);
  }
  if ((word & BEFORE_NUMLINKS) !== 0) {
    writeShared(32, word & BEFORE_NUMLINKS, writer, context, minorVersion);
  }
  if ((word & NUMLINKS) !== 0) {
    writer.uint32(attributes.linkCount);
  }
  if ((word & OWNER) !== 0) {
    writer.decimal(attributes.userId);
  }
  if ((word & OWNER_GROUP) !== 0) {
    writer.decimal(attributes.groupId);
  }
  if ((word & RAWDEV) !== 0) {
    const device = node.type === FileType.CHARACTER_DEVICE || node.type === FileType.BLOCK_DEVICE;
    writer.uint32(device ? node.major : 0);
    writer.uint32(device ? node.minor : 0);
  }
  if ((word & BEFORE_SPACE_USED) !== 0) {
    writeShared(32, word & BEFORE_SPACE_USED, writer, context, minorVersion);
  }
  if ((word & SPACE_USED) !== 0) {
    writer.uint64(attributes.spaceUsed);
  }
  if ((word & TIME_ACCESS) !== 0) {
    writeTime(writer, attributes.accessTime);
  }
  if ((word & BEFORE_TIME_METADATA) !== 0) {
    writeShared(32, word & BEFORE_TIME_METADATA, writer, context, minorVersion);
  }
  const view = writer.room(ROOM);
  let at = writer.position;
  if ((word & TIME_METADATA) !== 0) {
    at = putTime(view, at, attributes.metadataTime);
  }
  if ((word & TIME_MODIFY) !== 0) {
    at = putTime(view, at, attributes.modifyTime);
  }
  if ((word & MOUNTED_ON_FILEID) !== 0) {
    at = putUint64(view, at, attributes.fileId);
  }
  writer.position = at;
}

/** The attributes of `word`, the first of which is number `base`, that are the same for every node. */
function writeShared(
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

function writeTime(writer: XdrWriter, time: Timestamp): void {
  const view = writer.room(ROOM);
  writer.position = putTime(view, writer.position, time);
}

function putUint64(view: DataView, at: number, value: number): number {
  view.setUint32(at, value <= 0xffff_ffff ? 0 : value / 0x1_0000_0000);
  view.setUint32(at + 4, value);
  return at + 8;
}

function putSize(view: DataView, at: number, attributes: Attributes): number {
  if (attributes.size <= Number.MAX_SAFE_INTEGER) {
    return putUint64(view, at, attributes.size);
  }
  view.setBigUint64(at, attributes.hugeSize!);
  return at + 8;
}

function putTime(view: DataView, at: number, { seconds, nanoseconds }: Timestamp): number {
  view.setInt32(at, seconds >= 0 && seconds <= 0xffff_ffff ? 0 : Math.floor(seconds / 0x1_0000_0000));
  view.setUint32(at + 4, seconds);
  view.setUint32(at + 8, nanoseconds);
  return at + 12;
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
      // Linux asks once for a mount, at the gate's root if there is one.
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
      writer.exactUint64(statistic(attribute, context.fileSystem.statistics()));
  }
}

function statistic(attribute: number, statistics: FileSystemStatistics): Offset {
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
