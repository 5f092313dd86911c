import type { XdrWriter } from "../../xdr/index.ts";
import { type Attributes, FileType, type Node, type Timestamp } from "../file-system.ts";
import { Attribute } from "../protocol/attribute.ts";
import type { ServerContext } from "../server-context.ts";
import { SUPPORTED, writeBitmap } from "./bitmap.ts";
import { type AttributeRequest, SET_ONLY_WORD1, SET_ONLY_WORD2 } from "./request.ts";
import { writeShared } from "./shared.ts";

/** All nodes are of one file system, the gate's root included: no mount within the mount. */
const FILE_SYSTEM_ID = 1;

/** Appends an fattr4 of the requested attributes that the minor version has. */
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

/** The fattr4 of an entry whose attributes are not available: rdattr_error alone, if requested. */
export function writeAttributeError(writer: XdrWriter, status: number): void {
  writeBitmap(writer, 1 << Attribute.RDATTR_ERROR, 0, 0);
  writer.uint32(4);
  writer.uint32(status);
}

/** Mask of an attribute in its word. */
function bit(attribute: number): number {
  return 1 << (attribute & 31);
}

/** Mask of the attributes from `first` up to, but not including, `end`, within one word. */
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

/** The file system's attributes, which are interleaved with the node's own. */
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
 * Each attribute's bit is tested in turn: with a loop over the bits and a switch in it, READDIR of a large directory
 * took a third longer.
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
  if ((word & TYPE) !== 0) {
    writer.uint32(node.type);
  }
  if ((word & BEFORE_CHANGE) !== 0) {
    writeShared(0, word & BEFORE_CHANGE, writer, context, minorVersion);
  }
  if ((word & CHANGE) !== 0) {
    writer.uint64(attributes.change);
  }
  if ((word & SIZE) !== 0) {
    writer.uint64(attributes.size);
  }
  if ((word & BEFORE_FSID) !== 0) {
    writeShared(0, word & BEFORE_FSID, writer, context, minorVersion);
  }
  if ((word & FSID) !== 0) {
    writer.uint64(FILE_SYSTEM_ID);
    writer.uint64(0);
  }
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
  if ((word & TIME_METADATA) !== 0) {
    writeTime(writer, attributes.metadataTime);
  }
  if ((word & TIME_MODIFY) !== 0) {
    writeTime(writer, attributes.modifyTime);
  }
  if ((word & MOUNTED_ON_FILEID) !== 0) {
    writer.uint64(attributes.fileId);
  }
}

/** nfstime4. */
function writeTime(writer: XdrWriter, { seconds, nanoseconds }: Timestamp): void {
  writer.int64AndUint32(seconds, nanoseconds);
}
