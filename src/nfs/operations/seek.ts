import type { Compound } from "../compound/compound.ts";
import { checkIo, checkPermission, notAFile } from "../compound/io.ts";
import { FileType, isSparse } from "../file-system.ts";
import { Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";

const DATA = 0;
const HOLE = 1;

/** RFC 7862 §15.11. A file that does not know holes is data up to its end. */
export async function seek(compound: Compound): Promise<Status> {
  const { reader, node } = compound;
  compound.stateid.read(compound.reader);
  const offset = reader.uint64();
  const what = reader.uint32();
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
  if (what > HOLE) {
    return Status.UNION_NOTSUPP;
  }
  const permitted = checkPermission(compound, node, Share.READ);
  if (permitted !== Status.OK) {
    return permitted;
  }
  const { size } = node.attributes();
  if (offset >= size) {
    return Status.NXIO;
  }
  let found: number | undefined = what === DATA ? offset : size;
  if (isSparse(node)) {
    found = await node.seek(offset, what === DATA ? "data" : "hole");
  }
  compound.writer.bool(found === undefined || found >= size);
  compound.writer.uint64(found ?? size);
  return Status.OK;
}
