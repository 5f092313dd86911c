import { XdrWriter } from "../../xdr/index.ts";
import { SUPPORTED } from "../attributes/bitmap.ts";
import { writeAttributes } from "../attributes/encode.ts";
import type { Compound } from "../compound/compound.ts";
import { Attribute } from "../protocol/attribute.ts";
import { Status } from "../protocol/status.ts";

const MAXIMUM_ATTRIBUTES = 64 * 1024;

/** RFC 8881 §18.31. */
export function verify(compound: Compound): Promise<Status> {
  return compare(compound, Status.OK, Status.NOT_SAME);
}

/** RFC 8881 §18.15. */
export function nverify(compound: Compound): Promise<Status> {
  return compare(compound, Status.SAME, Status.OK);
}

/** Encodes the node's attributes as GETATTR would, and compares the bytes with those given. */
async function compare(compound: Compound, same: Status, different: Status): Promise<Status> {
  const { reader, node, attributeRequest: request, minorVersion, context } = compound;
  request.read(reader);
  const given = reader.opaque(MAXIMUM_ATTRIBUTES);
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (request.hasWriteOnly(minorVersion) || request.has(Attribute.RDATTR_ERROR)) {
    return Status.INVAL;
  }
  const supported = SUPPORTED[minorVersion as 0 | 1 | 2];
  const unknown =
    (request.word0 & ~supported[0]) | (request.word1 & ~supported[1]) | (request.word2 & ~supported[2]);
  if (unknown !== 0) {
    return Status.ATTRNOTSUPP;
  }
  const attributes = await context.delegations.attributesOf(node, compound.attributeRequest, compound.caller);
  if (typeof attributes === "number") {
    return attributes;
  }
  const writer = new XdrWriter(1024);
  writeAttributes(writer, request, node, attributes, context, minorVersion);
  const lengthAt = 4 + 4 * writer.buffer.readUInt32BE(0);
  return writer.buffer.subarray(lengthAt + 4, writer.position).equals(given) ? same : different;
}
