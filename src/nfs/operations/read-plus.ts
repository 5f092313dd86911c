import type { Compound } from "../compound/compound.ts";
import { checkIo, checkPermission, notAFile } from "../compound/io.ts";
import { FileType, isSparse, type RegularFile, type SparseFile } from "../file-system.ts";
import { MAXIMUM_IO, Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";

const CONTENT_DATA = 0;
const CONTENT_HOLE = 1;

/** RFC 7862 §15.10. The answer is one segment, data or hole; the client asks again for what follows. */
export async function readPlus(compound: Compound): Promise<Status> {
  const { reader, node } = compound;
  compound.stateid.read(compound.reader);
  const offset = reader.uint64();
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
  const permitted = checkPermission(compound, node, Share.READ);
  if (permitted !== Status.OK) {
    return permitted;
  }
  const { size } = node.attributes();
  const end = Math.min(offset + Math.min(count, MAXIMUM_IO, compound.replyLimit), size);
  if (offset >= end) {
    compound.writer.bool(offset >= size);
    compound.writer.uint32(0);
    return Status.OK;
  }
  if (!isSparse(node)) {
    return answerData(compound, node, offset, end);
  }
  const dataAt = await node.seek(offset, "data");
  if (dataAt === offset) {
    const holeAt = await node.seek(offset, "hole");
    return answerData(compound, node, offset, Math.min(holeAt ?? end, end));
  }
  return answerHole(compound, node, offset, dataAt);
}

async function answerData(
  compound: Compound,
  file: RegularFile,
  offset: number,
  end: number,
): Promise<Status> {
  const bytes = await file.read(offset, end - offset);
  const { writer } = compound;
  compound.context.statistics.bytesRead += bytes.length;
  writer.bool(offset + bytes.length >= file.attributes().size);
  writer.uint32(1);
  writer.uint32(CONTENT_DATA);
  writer.uint64(offset);
  writer.attach(bytes);
  return Status.OK;
}

/** `dataAt` is where data begins again; undefined if none follows. */
function answerHole(
  { writer }: Compound,
  file: RegularFile & SparseFile,
  offset: number,
  dataAt: number | undefined,
): Status {
  const { size } = file.attributes();
  const end = Math.min(dataAt ?? size, size);
  writer.bool(end >= size);
  writer.uint32(1);
  writer.uint32(CONTENT_HOLE);
  writer.uint64(offset);
  writer.uint64(end - offset);
  return Status.OK;
}
