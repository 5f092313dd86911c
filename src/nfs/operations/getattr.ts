import { writeAttributes } from "../attributes/encode.ts";
import type { Compound } from "../compound.ts";
import { type Attributes, FileType, type MaybePromise, type Node } from "../file-system.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.7. */
export function getattr(compound: Compound): MaybePromise<Status> {
  const { node, attributeRequest } = compound;
  attributeRequest.read(compound.reader);
  if (node === undefined) return Status.NOFILEHANDLE;
  if (attributeRequest.hasWriteOnly) return Status.INVAL;
  if (node.type === FileType.REGULAR) {
    const status = compound.context.delegations.recallForAttributes(compound, node);
    if (status !== Status.OK) return status;
  }
  const attributes = node.attributes();
  if (attributes instanceof Promise) return attributes.then((arrived) => answer(compound, node, arrived));
  return answer(compound, node, attributes);
}

function answer(compound: Compound, node: Node, attributes: Attributes): Status {
  const { writer, attributeRequest, context, minorVersion } = compound;
  writeAttributes(writer, attributeRequest, node, attributes, context, minorVersion);
  return Status.OK;
}
