import type { Compound } from "../compound/compound.ts";
import { checkIo, checkPermission, notAFile } from "../compound/io.ts";
import { FileType, MAXIMUM_FILE_SIZE, type MaybePromise, type RegularFile } from "../file-system.ts";
import { MAXIMUM_IO, Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";

/** Up to here a copy costs less than another segment in the write to the socket. */
const COPY_UP_TO = 16 * 1024;
const NOTHING = new Uint8Array(0);

/** RFC 8881 §18.22. */
export function read(compound: Compound): MaybePromise<Status> {
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
  const limit = Math.min(count, MAXIMUM_IO, compound.replyLimit, MAXIMUM_FILE_SIZE - offset);
  const data = limit < 0 ? NOTHING : node.read(offset, limit);
  if (data instanceof Promise) {
    return data.then((arrived) => answer(compound, node, offset, arrived));
  }
  return answer(compound, node, offset, data);
}

function answer(compound: Compound, file: RegularFile, offset: number, data: Uint8Array): Status {
  const { writer } = compound;
  compound.context.statistics.bytesRead += data.length;
  writer.bool(offset + data.length >= file.attributes().size);
  if (data.length <= COPY_UP_TO) {
    writer.opaque(data);
  } else {
    writer.attach(data);
  }
  return Status.OK;
}
