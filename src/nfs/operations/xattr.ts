import { writeChangeInfo } from "../compound/change-info.ts";
import type { Compound } from "../compound/compound.ts";
import { isUtf8Name } from "../compound/names.ts";
import {
  type ExtendedAttributes,
  FileType,
  hasExtendedAttributes,
  type MaybePromise,
  type Name,
  type Node,
} from "../file-system.ts";
import { andThen, checkNode, Permission } from "../permissions/access.ts";
import { MAXIMUM_NAME } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";

/** Bytes of a value: Linux's XATTR_SIZE_MAX. */
const MAXIMUM_VALUE = 64 * 1024;
const HOW = ["either", "create", "replace"] as const;

type NodeWithAttributes = Node & ExtendedAttributes;

/** RFC 8276 §8.4.1. */
export function getxattr(compound: Compound): MaybePromise<Status> {
  const name = readName(compound);
  return withNode(compound, Permission.READ, (node) => {
    if (typeof name === "number") {
      return name;
    }
    return andThen(node.getExtendedAttribute(name), (value) => {
      if (value === undefined) {
        return Status.NOXATTR;
      }
      compound.writer.opaque(value);
      return Status.OK;
    });
  });
}

/** RFC 8276 §8.4.2. */
export function setxattr(compound: Compound): MaybePromise<Status> {
  const { reader } = compound;
  const how = HOW[reader.uint32()];
  const name = readName(compound);
  const value = reader.opaque(reader.remaining);
  if (how === undefined) {
    return Status.INVAL;
  }
  return withNode(compound, Permission.WRITE, (node) => {
    if (typeof name === "number") {
      return name;
    }
    if (value.length > MAXIMUM_VALUE) {
      return Status.XATTR2BIG;
    }
    return changing(compound, node, () => node.setExtendedAttribute(name, Buffer.from(value), how));
  });
}

/**
 * RFC 8276 §8.4.3. Cookies count the names. Nodes that can have none have an empty list: Linux makes EIO of
 * NFS4ERR_WRONG_TYPE, and `rsync -X` asks for all that a directory has.
 */
export function listxattrs(compound: Compound): MaybePromise<Status> {
  const { reader, node, writer } = compound;
  const cookie = reader.uint64();
  const maximum = reader.uint32();
  if (node !== undefined && !mayHaveAttributes(node)) {
    writer.uint64(0);
    writer.uint32(0);
    writer.bool(true);
    return Status.OK;
  }
  return withNode(compound, Permission.READ, (node) =>
    andThen(node.listExtendedAttributes(), (names) => {
      if (cookie > names.length) {
        return Status.BAD_COOKIE;
      }
      let room = maximum - 16;
      let end = cookie;
      for (; end < names.length; end++) {
        room -= 4 + ((names[end]!.length + 3) & ~3);
        if (room < 0) {
          break;
        }
      }
      if (room < 0 && end === cookie) {
        return Status.TOOSMALL;
      }
      writer.uint64(end);
      writer.uint32(end - cookie);
      for (let index = cookie; index < end; index++) {
        writer.latin1(names[index]!);
      }
      writer.bool(end === names.length);
      return Status.OK;
    }),
  );
}

/** RFC 8276 §8.4.4. */
export function removexattr(compound: Compound): MaybePromise<Status> {
  const name = readName(compound);
  return withNode(compound, Permission.WRITE, (node) => {
    if (typeof name === "number") {
      return name;
    }
    return changing(compound, node, () => node.removeExtendedAttribute(name));
  });
}

function readName(compound: Compound): Name | Status {
  const { reader } = compound;
  const name = reader.latin1(reader.remaining);
  if (name.length === 0 || name.includes("\0")) {
    return Status.INVAL;
  }
  if (compound.context.utf8Names && !isUtf8Name(name)) {
    return Status.INVAL;
  }
  return name.length > MAXIMUM_NAME ? Status.NAMETOOLONG : name;
}

function mayHaveAttributes(node: Node): boolean {
  return node.type === FileType.REGULAR || node.type === FileType.DIRECTORY;
}

/** Goes on with the current node where it has extended attributes and the caller may use them so. */
function withNode(
  compound: Compound,
  wanted: number,
  next: (node: NodeWithAttributes) => MaybePromise<Status>,
): MaybePromise<Status> {
  const { node } = compound;
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (!mayHaveAttributes(node)) {
    return Status.WRONG_TYPE;
  }
  if (!hasExtendedAttributes(node)) {
    return Status.NOTSUPP;
  }
  return andThen(checkNode(node, compound.credentials, wanted), (status) =>
    status === Status.OK ? next(node) : status,
  );
}

/** Makes the change, and answers with the node's change attribute from before and after. */
function changing(
  compound: Compound,
  node: NodeWithAttributes,
  change: () => MaybePromise<void>,
): MaybePromise<Status> {
  if (node.type === FileType.REGULAR) {
    const status = compound.context.delegations.recallForChange(compound, node);
    if (status !== Status.OK) {
      return status;
    }
  }
  return andThen(node.attributes(), (attributes) => {
    const before = attributes.change;
    const changed = change();
    const exclusive = !(changed instanceof Promise);
    return andThen(changed, () =>
      andThen(node.attributes(), (after) => {
        writeChangeInfo(compound.writer, before, after.change, exclusive);
        return Status.OK;
      }),
    );
  });
}
