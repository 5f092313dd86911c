import type { Compound } from "../compound/compound.ts";
import {
  minus,
  plus,
  type ReachedCloneableFile,
  type ReachedFile,
  sizeOf,
  smaller,
  withinReach,
} from "../compound/offset.ts";
import {
  FileType,
  isCloneable,
  type MaybePromise,
  type Node,
  type Offset,
  type RegularFile,
} from "../file-system.ts";
import { andThen } from "../permissions/access.ts";
import { MAXIMUM_IO, Share, Stable } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { checkIo, checkPermission, notAFile } from "../state/io.ts";

/** Bytes that one COPY moves where the file system cannot share them; the client asks for the rest again. */
const MAXIMUM_COPIED = 16 * MAXIMUM_IO;
const MAXIMUM_SOURCE_SERVERS = 64;

/** Two files and the ranges in them: COPY and CLONE alike. */
interface Ranges {
  readonly source: ReachedFile;
  readonly target: ReachedFile;
  readonly sourceOffset: Offset;
  readonly offset: Offset;
  readonly length: Offset;
}

/** RFC 7862 §15.2, within the server and synchronous. */
export function copy(compound: Compound): MaybePromise<Status> {
  const { reader } = compound;
  const { savedNode: source, node: target } = compound;
  const sourceStatus = readState(compound, source, Share.READ);
  const targetStatus = readState(compound, target, Share.WRITE);
  const sourceOffset = reader.exactUint64();
  const offset = reader.exactUint64();
  const count = reader.exactUint64();
  reader.bool();
  reader.bool();
  const servers = reader.length(MAXIMUM_SOURCE_SERVERS);
  if (servers > 0) {
    return Status.NOTSUPP;
  }
  const status = checkFiles(compound, source, target, sourceStatus, targetStatus);
  if (status !== Status.OK) {
    return status;
  }
  return prepare(
    compound,
    source as RegularFile,
    target as RegularFile,
    sourceOffset,
    offset,
    count,
    (ranges) => {
      const limited = isCloneable(ranges.target)
        ? ranges
        : { ...ranges, length: smaller(ranges.length, MAXIMUM_COPIED) };
      return andThen(transfer(limited), (copied) => answerCopy(compound, copied));
    },
  );
}

/** RFC 7862 §15.13. */
export function clone(compound: Compound): MaybePromise<Status> {
  const { reader } = compound;
  const { savedNode: source, node: target } = compound;
  const sourceStatus = readState(compound, source, Share.READ);
  const targetStatus = readState(compound, target, Share.WRITE);
  const sourceOffset = reader.exactUint64();
  const offset = reader.exactUint64();
  const count = reader.exactUint64();
  const status = checkFiles(compound, source, target, sourceStatus, targetStatus);
  if (status !== Status.OK) {
    return status;
  }
  if (!isCloneable(target!)) {
    return Status.NOTSUPP;
  }
  return prepare(
    compound,
    source as RegularFile,
    target as RegularFile,
    sourceOffset,
    offset,
    count,
    (ranges) => andThen(transfer(ranges), () => Status.OK),
  );
}

/** Reads a stateid and checks it against the node. */
function readState(compound: Compound, node: Node | undefined, wanted: number): Status {
  compound.stateid.read(compound);
  return node?.type === FileType.REGULAR ? checkIo(compound, node, wanted) : Status.OK;
}

function checkFiles(
  compound: Compound,
  source: Node | undefined,
  target: Node | undefined,
  sourceStatus: Status,
  targetStatus: Status,
): Status {
  if (source === undefined || target === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (source.type !== FileType.REGULAR) {
    return notAFile(source, compound.minorVersion);
  }
  if (target.type !== FileType.REGULAR) {
    return notAFile(target, compound.minorVersion);
  }
  return sourceStatus === Status.OK ? targetStatus : sourceStatus;
}

function prepare(
  compound: Compound,
  source: RegularFile,
  target: RegularFile,
  sourceOffset: Offset,
  offset: Offset,
  count: Offset,
  act: (ranges: Ranges) => MaybePromise<Status>,
): MaybePromise<Status> {
  const { delegations } = compound.context;
  const recalled = delegations.recallForChange(compound, target);
  if (recalled !== Status.OK) {
    return recalled;
  }
  return andThen(checkPermission(compound, source, Share.READ), (mayRead) => {
    if (mayRead !== Status.OK) {
      return mayRead;
    }
    return andThen(checkPermission(compound, target, Share.WRITE), (mayWrite) => {
      if (mayWrite !== Status.OK) {
        return mayWrite;
      }
      return andThen(source.attributes(), (attributes) => {
        const size = sizeOf(attributes);
        if (sourceOffset > size) {
          return Status.INVAL;
        }
        // A count of 0 means all that follows (RFC 7862 §15.2.3).
        const length = count === 0 ? minus(size, sourceOffset) : count;
        const sourceEnd = plus(sourceOffset, length);
        if (sourceEnd > size || !withinReach(source, sourceOffset, length)) {
          return Status.INVAL;
        }
        if (!withinReach(target, offset, length)) {
          return Status.FBIG;
        }
        if (source === target && sourceOffset < plus(offset, length) && offset < sourceEnd) {
          return length === 0 ? act({ source, target, sourceOffset, offset, length }) : Status.INVAL;
        }
        return act({ source, target, sourceOffset, offset, length });
      });
    });
  });
}

/** Resolves to the number of bytes that the target now has of the source. */
function transfer({ source, target, sourceOffset, offset, length }: Ranges): MaybePromise<Offset> {
  if (length === 0) {
    return 0;
  }
  if (isCloneable(target)) {
    return (target as ReachedCloneableFile).cloneRange(source, sourceOffset, offset, length);
  }
  // COPY has limited it.
  return copyFrom(source, target, sourceOffset, offset, Number(length), 0);
}

function copyFrom(
  source: ReachedFile,
  target: ReachedFile,
  sourceOffset: Offset,
  offset: Offset,
  length: number,
  done: number,
): MaybePromise<number> {
  if (done === length) {
    return done;
  }
  return andThen(source.read(plus(sourceOffset, done), Math.min(length - done, MAXIMUM_IO)), (data) => {
    if (data.length === 0) {
      return done;
    }
    return andThen(target.write(plus(offset, done), data, false), () =>
      copyFrom(source, target, sourceOffset, offset, length, done + data.length),
    );
  });
}

function answerCopy(compound: Compound, copied: Offset): Status {
  const { writer, context } = compound;
  writer.uint32(0);
  writer.exactUint64(copied);
  writer.uint32(Stable.UNSTABLE);
  writer.fixed(context.state.verifier);
  writer.bool(true);
  writer.bool(true);
  return Status.OK;
}
