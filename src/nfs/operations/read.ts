import { andThen } from "../access.ts";
import type { Compound } from "../compound.ts";
import { FileType, type MaybePromise, type RegularFile } from "../file-system.ts";
import { MAXIMUM_IO, Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { checkIo, checkPermission, notAFile } from "../state/io.ts";

/** Up to here a copy costs less than another segment in the write to the socket. */
const COPY_UP_TO = 16 * 1024;

/** RFC 8881 §18.22. */
export function read(compound: Compound): MaybePromise<Status> {
  const { reader, node } = compound;
  compound.stateid.read(compound);
  const offset = reader.uint64();
  const count = reader.uint32();
  if (node === undefined) return Status.NOFILEHANDLE;
  if (node.type !== FileType.REGULAR) return notAFile(node, compound.minorVersion);
  const status = checkIo(compound, node, Share.READ);
  if (status !== Status.OK) return status;
  if (compound.credentials.userId === 0) return start(compound, node, offset, count);
  return readUnprivileged(compound, node, offset, count);
}

function readUnprivileged(
  compound: Compound,
  file: RegularFile,
  offset: number,
  count: number,
): MaybePromise<Status> {
  return andThen(checkPermission(compound, file, Share.READ), (status) =>
    status === Status.OK ? start(compound, file, offset, count) : status,
  );
}

function start(compound: Compound, file: RegularFile, offset: number, count: number): MaybePromise<Status> {
  const limit = Math.min(count, MAXIMUM_IO, compound.replyLimit);
  if (offset > Number.MAX_SAFE_INTEGER - limit) return answer(compound, file, offset, EMPTY);
  const data = file.read(offset, limit);
  if (data instanceof Promise) return data.then((arrived) => answer(compound, file, offset, arrived));
  return answer(compound, file, offset, data);
}

function answer(
  compound: Compound,
  file: RegularFile,
  offset: number,
  data: Uint8Array,
): MaybePromise<Status> {
  const attributes = file.attributes();
  if (attributes instanceof Promise) {
    return attributes.then(({ size }) => write(compound, offset, size, data));
  }
  return write(compound, offset, attributes.size, data);
}

function write(compound: Compound, offset: number, size: number, data: Uint8Array): Status {
  const { writer } = compound;
  writer.bool(offset + data.length >= size);
  if (data.length <= COPY_UP_TO) writer.opaque(data);
  else writer.attach(data);
  return Status.OK;
}

const EMPTY = new Uint8Array(0);
