import type { XdrReader, XdrWriter } from "../../xdr/index.ts";
import {
  type Attributes,
  type FileSystemStatistics,
  FileType,
  hasExtendedAttributes,
  type Node,
  type Timestamp,
} from "../file-system.ts";
import { Attribute } from "../protocol/attribute.ts";
import { MAXIMUM_IO, MAXIMUM_NAME } from "../protocol/constants.ts";
import type { ServerContext } from "../server-context.ts";
import { SETTABLE, SUPPORTED } from "./bitmap.ts";

const MAXIMUM_BITMAP_WORDS = 64;
const MAXIMUM_LINKS = 0xffff_ffff;
/** NFS4_CHANGE_TYPE_IS_VERSION_COUNTER (RFC 7862 §12.2.3). */
const CHANGE_TYPE_IS_VERSION_COUNTER = 1;
/** All nodes are of one file system, the gate's root included: no mount within the mount. */
const FILE_SYSTEM_ID = 1;

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
    for (let index = 3; index < words; index++) reader.uint32();
  }

  /** Asks for what can only be set (RFC 8881 §5.5): an error. */
  get hasWriteOnly(): boolean {
    return (this.word1 & SET_ONLY_WORD1) !== 0;
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
  const word2 = (request.word2 & supported[2]) >>> 0;
  writeBitmap(writer, word0, word1, word2);
  const lengthAt = writer.reserve(1);
  const start = writer.position;
  if (word0 !== 0) writeWord(0, word0, writer, node, attributes, context, minorVersion);
  if (word1 !== 0) writeWord(32, word1, writer, node, attributes, context, minorVersion);
  if (word2 !== 0) writeWord(64, word2, writer, node, attributes, context, minorVersion);
  writer.patch(lengthAt, writer.position - start);
}

/** fattr4 of an entry whose attributes cannot be had: rdattr_error alone, where it is asked for. */
export function writeAttributeError(writer: XdrWriter, status: number): void {
  writeBitmap(writer, 1 << Attribute.RDATTR_ERROR, 0, 0);
  writer.uint32(4);
  writer.uint32(status);
}

const SET_ONLY_WORD1 = (1 << (Attribute.TIME_ACCESS_SET - 32)) | (1 << (Attribute.TIME_MODIFY_SET - 32));

/** Appends a bitmap4 without trailing zero words. */
export function writeBitmap(writer: XdrWriter, word0: number, word1: number, word2: number): void {
  const words = word2 !== 0 ? 3 : word1 !== 0 ? 2 : word0 !== 0 ? 1 : 0;
  writer.uint32(words);
  if (words > 0) writer.uint32(word0);
  if (words > 1) writer.uint32(word1);
  if (words > 2) writer.uint32(word2);
}

function writeWord(
  base: number,
  word: number,
  writer: XdrWriter,
  node: Node,
  attributes: Attributes,
  context: ServerContext,
  minorVersion: number,
): void {
  for (let rest = word; rest !== 0; rest &= rest - 1) {
    writeAttribute(base + 31 - Math.clz32(rest & -rest), writer, node, attributes, context, minorVersion);
  }
}

function writeAttribute(
  attribute: number,
  writer: XdrWriter,
  node: Node,
  attributes: Attributes,
  context: ServerContext,
  minorVersion: number,
): void {
  switch (attribute) {
    case Attribute.TYPE:
      writer.uint32(node.type);
      break;
    case Attribute.CHANGE:
      writer.uint64(attributes.change);
      break;
    case Attribute.SIZE:
      writer.uint64(attributes.size);
      break;
    case Attribute.FSID:
      writer.uint64(FILE_SYSTEM_ID);
      writer.uint64(0);
      break;
    case Attribute.FILEID:
    case Attribute.MOUNTED_ON_FILEID:
      writer.uint64(attributes.fileId);
      break;
    case Attribute.MODE:
      writer.uint32(attributes.mode);
      break;
    case Attribute.NUMLINKS:
      writer.uint32(attributes.linkCount);
      break;
    case Attribute.OWNER:
      writer.decimal(attributes.userId);
      break;
    case Attribute.OWNER_GROUP:
      writer.decimal(attributes.groupId);
      break;
    case Attribute.RAWDEV: {
      const device = node.type === FileType.CHARACTER_DEVICE || node.type === FileType.BLOCK_DEVICE;
      writer.uint32(device ? node.major : 0);
      writer.uint32(device ? node.minor : 0);
      break;
    }
    case Attribute.SPACE_USED:
      writer.uint64(attributes.spaceUsed);
      break;
    case Attribute.TIME_ACCESS:
      writeTime(writer, attributes.accessTime);
      break;
    case Attribute.TIME_METADATA:
      writeTime(writer, attributes.metadataTime);
      break;
    case Attribute.TIME_MODIFY:
      writeTime(writer, attributes.modifyTime);
      break;
    case Attribute.RDATTR_ERROR:
      writer.uint32(0);
      break;
    case Attribute.FILEHANDLE:
      writer.opaque(node.handle);
      break;
    case Attribute.XATTR_SUPPORT:
      writer.bool(hasExtendedAttributes(node));
      break;
    default:
      writeFileSystemAttribute(attribute, writer, context, minorVersion);
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

function writeTime(writer: XdrWriter, time: Timestamp): void {
  writer.int64(time.seconds);
  writer.uint32(time.nanoseconds);
}
