import type { Compound } from "../compound/compound.ts";
import { checkIo, checkPermission, notAFile } from "../compound/io.ts";
import { FileType, isCloneable, MAXIMUM_FILE_SIZE, type Node, type RegularFile } from "../file-system.ts";
import { clearSetIds } from "../permissions/ownership.ts";
import { MAXIMUM_IO, Share, Stable } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";

/** Bytes that one COPY moves if the file system cannot share them; the client asks again for the rest. */
const MAXIMUM_COPIED = 16 * MAXIMUM_IO;
const MAXIMUM_SOURCE_SERVERS = 64;

/** Two files and the ranges in them, in bytes, for COPY and CLONE alike. */
interface Ranges {
  readonly source: RegularFile;
  readonly target: RegularFile;
  readonly sourceOffset: number;
  readonly offset: number;
  readonly length: number;
}

/** RFC 7862 §15.2, within the server and synchronous. */
export async function copy(compound: Compound): Promise<Status> {
  const ranges = readRanges(compound);
  const { reader } = compound;
  reader.bool();
  reader.bool();
  if (reader.length(MAXIMUM_SOURCE_SERVERS) > 0) {
    return Status.NOTSUPP;
  }
  if (typeof ranges === "number") {
    return ranges;
  }
  const status = check(compound, ranges);
  if (status !== Status.OK) {
    return status;
  }
  const copied = await transfer(compound, ranges);
  const { writer, context } = compound;
  writer.uint32(0);
  writer.uint64(copied);
  writer.uint32(Stable.UNSTABLE);
  writer.fixed(context.state.verifier);
  writer.bool(true);
  writer.bool(true);
  return Status.OK;
}

/** RFC 7862 §15.13. */
export async function clone(compound: Compound): Promise<Status> {
  const ranges = readRanges(compound);
  if (typeof ranges === "number") {
    return ranges;
  }
  if (!isCloneable(ranges.target)) {
    return Status.NOTSUPP;
  }
  const status = check(compound, ranges);
  if (status !== Status.OK) {
    return status;
  }
  await transfer(compound, ranges);
  return Status.OK;
}

/**
 * Reads what COPY and CLONE begin with, two stateids and the ranges, and checks the stateids against the saved and the
 * current node. A length of 0 is replaced by that of the rest of the source (RFC 7862 §15.2.3).
 */
function readRanges(compound: Compound): Ranges | Status {
  const { reader, savedNode: source, node: target } = compound;
  const sourceStatus = readState(compound, source, Share.READ);
  const targetStatus = readState(compound, target, Share.WRITE);
  const sourceOffset = reader.uint64();
  const offset = reader.uint64();
  const count = reader.uint64();
  if (source === undefined || target === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (source.type !== FileType.REGULAR) {
    return notAFile(source, compound.minorVersion);
  }
  if (target.type !== FileType.REGULAR) {
    return notAFile(target, compound.minorVersion);
  }
  if (sourceStatus !== Status.OK || targetStatus !== Status.OK) {
    return sourceStatus === Status.OK ? targetStatus : sourceStatus;
  }
  const length = count === 0 ? source.attributes().size - sourceOffset : count;
  return { source, target, sourceOffset, offset, length };
}

/** Reads a stateid and checks it against the node. */
function readState(compound: Compound, node: Node | undefined, wanted: number): Status {
  compound.stateid.read(compound.reader);
  return node?.type === FileType.REGULAR ? checkIo(compound, node, wanted) : Status.OK;
}

/** Whether the caller may do it, and the ranges are valid. */
function check(compound: Compound, { source, target, sourceOffset, offset, length }: Ranges): Status {
  const recalled = compound.context.delegations.recallForChange(compound.caller, target);
  if (recalled !== Status.OK) {
    return recalled;
  }
  const mayRead = checkPermission(compound, source, Share.READ);
  if (mayRead !== Status.OK) {
    return mayRead;
  }
  const mayWrite = checkPermission(compound, target, Share.WRITE);
  if (mayWrite !== Status.OK) {
    return mayWrite;
  }
  const sourceEnd = sourceOffset + length;
  if (length < 0 || sourceEnd > source.attributes().size) {
    return Status.INVAL;
  }
  if (offset + length > MAXIMUM_FILE_SIZE) {
    return Status.FBIG;
  }
  const overlap = source === target && sourceOffset < offset + length && offset < sourceEnd;
  return overlap && length > 0 ? Status.INVAL : Status.OK;
}

/** Resolves to the number of bytes that the target now has of the source: fewer where they have to be moved. */
async function transfer(compound: Compound, ranges: Ranges): Promise<number> {
  const { source, target, sourceOffset, offset, length } = ranges;
  if (length === 0) {
    return 0;
  }
  await clearSetIds(target, compound.credentials);
  if (isCloneable(target)) {
    return target.cloneRange(source, sourceOffset, offset, length);
  }
  const wanted = Math.min(length, MAXIMUM_COPIED);
  let done = 0;
  while (done < wanted) {
    const data = await source.read(sourceOffset + done, Math.min(wanted - done, MAXIMUM_IO));
    if (data.length === 0) {
      break;
    }
    await target.write(offset + done, data, false);
    done += data.length;
  }
  return done;
}
