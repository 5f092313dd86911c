import type { Compound } from "../compound/compound.ts";
import { minus, plus, type ReachedFile, reachOf, sizeOf, withinReach } from "../compound/offset.ts";
import {
  type Attributes,
  FileType,
  type MaybePromise,
  type Offset,
  type RegularFile,
} from "../file-system.ts";
import { andThen } from "../permissions/access.ts";
import { MAXIMUM_IO, Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { checkIo, checkPermission, notAFile } from "../state/io.ts";

/** Up to here a copy costs less than another segment in the write to the socket. */
const COPY_UP_TO = 16 * 1024;

/** RFC 8881 §18.22. */
export function read(compound: Compound): MaybePromise<Status> {
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
  if (compound.credentials.userId === 0) {
    return start(compound, node, offset, count);
  }
  return readUnprivileged(compound, node, offset, count);
}

function readUnprivileged(
  compound: Compound,
  file: RegularFile,
  offset: Offset,
  count: number,
): MaybePromise<Status> {
  return andThen(checkPermission(compound, file, Share.READ), (status) =>
    status === Status.OK ? start(compound, file, offset, count) : status,
  );
}

function start(compound: Compound, file: RegularFile, offset: Offset, count: number): MaybePromise<Status> {
  const limit = Math.min(count, MAXIMUM_IO, compound.replyLimit);
  const data = withinReach(file, offset, limit) ? file.read(offset, limit) : readToReach(file, offset);
  if (data instanceof Promise) {
    return data.then((arrived) => answer(compound, file, offset, arrived));
  }
  return answer(compound, file, offset, data);
}

/** Up to where no file goes on. */
function readToReach(file: RegularFile, offset: Offset): MaybePromise<Uint8Array> {
  const reach = reachOf(file);
  if (offset >= reach) {
    return EMPTY;
  }
  return (file as ReachedFile).read(offset, Number(minus(reach, offset)));
}

function answer(
  compound: Compound,
  file: RegularFile,
  offset: Offset,
  data: Uint8Array,
): MaybePromise<Status> {
  const attributes = file.attributes();
  if (attributes instanceof Promise) {
    return attributes.then((arrived) => write(compound, offset, arrived, data));
  }
  return write(compound, offset, attributes, data);
}

function write(compound: Compound, offset: Offset, attributes: Attributes, data: Uint8Array): Status {
  const { writer } = compound;
  writer.bool(plus(offset, data.length) >= sizeOf(attributes));
  if (data.length <= COPY_UP_TO) {
    writer.opaque(data);
  } else {
    writer.attach(data);
  }
  return Status.OK;
}

const EMPTY = new Uint8Array(0);
