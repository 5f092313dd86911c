import { andThen } from "../access.ts";
import type { Compound } from "../compound.ts";
import { FileType, isSparse, type MaybePromise, type RegularFile } from "../file-system.ts";
import { MAXIMUM_IO, Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { checkIo, checkPermission, notAFile } from "../state/io.ts";

const CONTENT_DATA = 0;
const CONTENT_HOLE = 1;

/** RFC 7862 §15.10. The answer is one segment, data or hole: the client asks on behind it. */
export function readPlus(compound: Compound): MaybePromise<Status> {
  const { reader, node } = compound;
  compound.stateid.read(compound);
  const offset = reader.uint64();
  const count = reader.uint32();
  if (node === undefined) return Status.NOFILEHANDLE;
  if (node.type !== FileType.REGULAR) return notAFile(node, compound.minorVersion);
  const status = checkIo(compound, node, Share.READ);
  if (status !== Status.OK) return status;
  return andThen(checkPermission(compound, node, Share.READ), (permitted) => {
    if (permitted !== Status.OK) return permitted;
    return andThen(node.attributes(), ({ size }) => segment(compound, node, offset, count, size));
  });
}

function segment(
  compound: Compound,
  file: RegularFile,
  offset: number,
  count: number,
  size: number,
): MaybePromise<Status> {
  const { writer } = compound;
  const end = Math.min(offset + Math.min(count, MAXIMUM_IO, compound.replyLimit), size);
  if (offset >= end) {
    writer.bool(offset >= size);
    writer.uint32(0);
    return Status.OK;
  }
  if (!isSparse(file)) return data(compound, file, offset, end, size);
  return andThen(file.seek(offset, "data"), (dataAt) => {
    if (dataAt === offset) {
      return andThen(file.seek(offset, "hole"), (holeAt) =>
        data(compound, file, offset, Math.min(holeAt ?? end, end), size),
      );
    }
    const holeEnd = Math.min(dataAt ?? size, size);
    compound.writer.bool(holeEnd >= size);
    compound.writer.uint32(1);
    compound.writer.uint32(CONTENT_HOLE);
    compound.writer.uint64(offset);
    compound.writer.uint64(holeEnd - offset);
    return Status.OK;
  });
}

function data(
  compound: Compound,
  file: RegularFile,
  offset: number,
  end: number,
  size: number,
): MaybePromise<Status> {
  return andThen(file.read(offset, end - offset), (bytes) => {
    const { writer } = compound;
    writer.bool(offset + bytes.length >= size);
    writer.uint32(1);
    writer.uint32(CONTENT_DATA);
    writer.uint64(offset);
    writer.attach(bytes);
    return Status.OK;
  });
}
