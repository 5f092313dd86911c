import type { Compound } from "../compound/compound.ts";
import {
  minus,
  plus,
  type ReachedFile,
  type ReachedSparseFile,
  sizeOf,
  smaller,
} from "../compound/offset.ts";
import { FileType, isSparse, type MaybePromise, type Offset, type RegularFile } from "../file-system.ts";
import { andThen } from "../permissions/access.ts";
import { MAXIMUM_IO, Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { checkIo, checkPermission, notAFile } from "../state/io.ts";

const CONTENT_DATA = 0;
const CONTENT_HOLE = 1;

/** RFC 7862 §15.10. The answer is one segment, data or hole: the client asks on behind it. */
export function readPlus(compound: Compound): MaybePromise<Status> {
  const { reader, node } = compound;
  compound.stateid.read(compound);
  const offset = reader.exactUint64();
  const count = reader.uint32();
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (node.type !== FileType.REGULAR) {
    return notAFile(node, compound.minorVersion);
  }
  const status = checkIo(compound, node, Share.READ);
  if (status !== Status.OK) {
    return status;
  }
  return andThen(checkPermission(compound, node, Share.READ), (permitted) => {
    if (permitted !== Status.OK) {
      return permitted;
    }
    return andThen(node.attributes(), (attributes) =>
      segment(compound, node, offset, count, sizeOf(attributes)),
    );
  });
}

function segment(
  compound: Compound,
  file: RegularFile,
  offset: Offset,
  count: number,
  size: Offset,
): MaybePromise<Status> {
  const { writer } = compound;
  const end = smaller(plus(offset, Math.min(count, MAXIMUM_IO, compound.replyLimit)), size);
  if (offset >= end) {
    writer.bool(offset >= size);
    writer.uint32(0);
    return Status.OK;
  }
  if (!isSparse(file)) {
    return data(compound, file, offset, end, size);
  }
  const sparse = file as ReachedSparseFile;
  return andThen(sparse.seek(offset, "data"), (dataAt) => {
    if (dataAt === offset) {
      return andThen(sparse.seek(offset, "hole"), (holeAt) =>
        data(compound, file, offset, smaller(holeAt ?? end, end), size),
      );
    }
    const holeEnd = smaller(dataAt ?? size, size);
    compound.writer.bool(holeEnd >= size);
    compound.writer.uint32(1);
    compound.writer.uint32(CONTENT_HOLE);
    compound.writer.exactUint64(offset);
    compound.writer.exactUint64(minus(holeEnd, offset));
    return Status.OK;
  });
}

function data(
  compound: Compound,
  file: RegularFile,
  offset: Offset,
  end: Offset,
  size: Offset,
): MaybePromise<Status> {
  // Both lie within the file's size.
  const read = (file as ReachedFile).read(offset, Number(minus(end, offset)));
  return andThen(read, (bytes) => {
    const { writer } = compound;
    writer.bool(plus(offset, bytes.length) >= size);
    writer.uint32(1);
    writer.uint32(CONTENT_DATA);
    writer.exactUint64(offset);
    writer.attach(bytes);
    return Status.OK;
  });
}
