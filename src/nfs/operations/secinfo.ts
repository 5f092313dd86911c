import type { Compound } from "../compound/compound.ts";
import { readName } from "../compound/names.ts";
import { FileType } from "../file-system.ts";
import { checkNode, Permission } from "../permissions/access.ts";
import { AuthFlavor } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";

const CURRENT_FH = 0;
const PARENT = 1;

/** RFC 8881 §18.29. */
export async function secinfo(compound: Compound): Promise<Status> {
  const named = readName(compound);
  const { node, name } = compound;
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (node.type !== FileType.DIRECTORY) {
    return Status.NOTDIR;
  }
  if (named !== Status.OK) {
    return named;
  }
  const permitted = checkNode(node, compound.credentials, Permission.EXECUTE);
  if (permitted !== Status.OK) {
    return permitted;
  }
  const found = await node.lookup(name);
  return found === undefined ? Status.NOENT : answer(compound);
}

/** RFC 8881 §18.45. */
export function secinfoNoName(compound: Compound): Status {
  const style = compound.reader.uint32();
  const { node } = compound;
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (style > PARENT) {
    return Status.BADXDR;
  }
  if (style !== CURRENT_FH) {
    if (node.type !== FileType.DIRECTORY) {
      return Status.NOTDIR;
    }
    if (node.parent() === undefined) {
      return Status.NOENT;
    }
  }
  return answer(compound);
}

/** From NFSv4.1 on, this consumes the current filehandle (RFC 8881 §2.6.3.1.1.8). */
function answer(compound: Compound): Status {
  const { writer } = compound;
  writer.uint32(2);
  writer.uint32(AuthFlavor.SYS);
  writer.uint32(AuthFlavor.NONE);
  if (compound.minorVersion > 0) {
    compound.node = compound.currentState = undefined;
  }
  return Status.OK;
}
