import { writeAttributes } from "../attributes/encode.ts";
import type { Compound } from "../compound/compound.ts";
import type { Attributes, MaybePromise, Node } from "../file-system.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.7. */
export function getattr(compound: Compound): MaybePromise<Status> {
  const { node, attributeRequest } = compound;
  attributeRequest.read(compound.reader);
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (attributeRequest.hasWriteOnly(compound.minorVersion)) {
    return Status.INVAL;
  }
  const attributes = compound.context.delegations.attributesOf(
    node,
    compound.attributeRequest,
    compound.caller,
  );
  if (attributes instanceof Promise) {
    return attributes.then((arrived) => answer(compound, node, arrived));
  }
  return answer(compound, node, attributes);
}

function answer(compound: Compound, node: Node, attributes: Attributes | Status): Status {
  if (typeof attributes === "number") {
    return attributes;
  }
  const { writer, attributeRequest, context, minorVersion } = compound;
  writeAttributes(writer, attributeRequest, node, attributes, context, minorVersion);
  return Status.OK;
}
