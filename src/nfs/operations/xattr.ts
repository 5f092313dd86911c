import { makeChange, writeChangeInfo } from "../compound/change-info.ts";
import { changeable } from "../compound/changeable.ts";
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
import { checkNode, Permission } from "../permissions/access.ts";
import { MAXIMUM_NAME } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";

/** Bytes of a value: Linux's XATTR_SIZE_MAX. */
const MAXIMUM_VALUE = 64 * 1024;
const HOW = ["either", "create", "replace"] as const;

type NodeWithAttributes = Node & ExtendedAttributes;

/** RFC 8276 §8.4.1. */
export async function getxattr(compound: Compound): Promise<Status> {
  const name = readName(compound);
  const node = nodeFor(compound, Permission.READ);
  if (typeof node === "number") {
    return node;
  }
  if (typeof name === "number") {
    return name;
  }
  const value = await node.getExtendedAttribute(name);
  if (value === undefined) {
    return Status.NOXATTR;
  }
  compound.writer.opaque(value);
  return Status.OK;
}

/** RFC 8276 §8.4.2. */
export async function setxattr(compound: Compound): Promise<Status> {
  const { reader } = compound;
  const how = HOW[reader.uint32()];
  const name = readName(compound);
  const value = reader.opaque(reader.remaining);
  if (how === undefined) {
    return Status.INVAL;
  }
  const node = nodeFor(compound, Permission.WRITE);
  if (typeof node === "number") {
    return node;
  }
  if (typeof name === "number") {
    return name;
  }
  if (value.length > MAXIMUM_VALUE) {
    return Status.XATTR2BIG;
  }
  return change(compound, node, (changed) => changed.setExtendedAttribute(name, Buffer.from(value), how));
}

/**
 * RFC 8276 §8.4.3. Cookies count the names. Nodes that cannot have any get an empty list: Linux turns
 * NFS4ERR_WRONG_TYPE into EIO, and `rsync -X` asks for every entry of a directory.
 */
export async function listxattrs(compound: Compound): Promise<Status> {
  const { reader } = compound;
  const cookie = reader.uint64();
  const maximum = reader.uint32();
  if (compound.node !== undefined && !mayHaveAttributes(compound.node)) {
    return writeNames(compound, [], 0, 0);
  }
  const node = nodeFor(compound, Permission.READ);
  if (typeof node === "number") {
    return node;
  }
  const names = await node.listExtendedAttributes();
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
  return writeNames(compound, names, cookie, end);
}

/** Appends LISTXATTRS4resok with the names from `start` up to, but not including, `end`. */
function writeNames({ writer }: Compound, names: readonly Name[], start: number, end: number): Status {
  writer.uint64(end);
  writer.uint32(end - start);
  for (let index = start; index < end; index++) {
    writer.latin1(names[index]!);
  }
  writer.bool(end === names.length);
  return Status.OK;
}

/** RFC 8276 §8.4.4. */
export async function removexattr(compound: Compound): Promise<Status> {
  const name = readName(compound);
  const node = nodeFor(compound, Permission.WRITE);
  if (typeof node === "number") {
    return node;
  }
  if (typeof name === "number") {
    return name;
  }
  return change(compound, node, (changed) => changed.removeExtendedAttribute(name));
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

/** The current node, if it has extended attributes and the caller may use them so; else the status that says why not. */
function nodeFor(compound: Compound, wanted: number): NodeWithAttributes | Status {
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
  const permitted = checkNode(node, compound.credentials, wanted);
  return permitted === Status.OK ? node : permitted;
}

/** Makes the change, and answers with the node's change attribute from before and after. */
async function change(
  compound: Compound,
  node: NodeWithAttributes,
  act: (node: NodeWithAttributes) => MaybePromise<void>,
): Promise<Status> {
  if (node.type === FileType.REGULAR) {
    const recalled = await compound.context.delegations.recalledForChange(compound.caller, node);
    if (recalled !== Status.OK) {
      return recalled;
    }
  }
  const target = changeable(compound.context.state, node);
  compound.node = target;
  if (!hasExtendedAttributes(target)) {
    return Status.NOTSUPP;
  }
  const changed = await makeChange(target, () => act(target));
  writeChangeInfo(compound.writer, changed);
  return Status.OK;
}
