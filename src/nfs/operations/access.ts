import type { Compound } from "../compound/compound.ts";
import { FileType, hasExtendedAttributes } from "../file-system.ts";
import { Permission, permissions } from "../permissions/access.ts";
import { Access } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";

const BASIC = Access.READ | Access.LOOKUP | Access.MODIFY | Access.EXTEND | Access.DELETE | Access.EXECUTE;
const EXTENDED = Access.XATTR_READ | Access.XATTR_WRITE | Access.XATTR_LIST;

/** RFC 8881 §18.1. */
export function access(compound: Compound): Status {
  const requested = compound.reader.uint32();
  const { node } = compound;
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  const known = compound.minorVersion >= 2 && hasExtendedAttributes(node) ? BASIC | EXTENDED : BASIC;
  if (compound.minorVersion === 0 && (requested & ~BASIC) !== 0) {
    return Status.INVAL;
  }
  const granted = permissions(node.type, node.attributes(), compound.credentials);
  let allowed = 0;
  if (granted & Permission.READ) {
    allowed |= Access.READ | Access.XATTR_READ | Access.XATTR_LIST;
  }
  if (granted & Permission.WRITE) {
    allowed |= Access.MODIFY | Access.EXTEND | Access.XATTR_WRITE;
  }
  let supported: number = known;
  if (node.type === FileType.DIRECTORY) {
    supported &= ~Access.EXECUTE;
    if (granted & Permission.EXECUTE) {
      allowed |= Access.LOOKUP;
    }
    if (granted & Permission.WRITE) {
      allowed |= Access.DELETE;
    }
  } else {
    supported &= ~(Access.LOOKUP | Access.DELETE);
    if (granted & Permission.EXECUTE) {
      allowed |= Access.EXECUTE;
    }
  }
  const { writer } = compound;
  writer.uint32(requested & supported);
  writer.uint32(requested & supported & allowed);
  return Status.OK;
}
