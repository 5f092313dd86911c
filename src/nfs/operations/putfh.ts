import type { Compound } from "../compound/compound.ts";
import type { MaybePromise, Node } from "../file-system.ts";
import { MAXIMUM_HANDLE } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.19. */
export function putfh(compound: Compound): MaybePromise<Status> {
  const handle = compound.reader.opaque(MAXIMUM_HANDLE);
  if (handle.length === 0) {
    return Status.BADHANDLE;
  }
  const { gate, fileSystem } = compound.context;
  if (gate !== undefined && handle.equals(gate.root.handle)) {
    return set(compound, gate.root);
  }
  // To those outside the gate no handle means anything, guessed right or not.
  if (!compound.admitted) {
    return Status.STALE;
  }
  const node = fileSystem.resolve(handle);
  if (node instanceof Promise) {
    return node.then((found) => set(compound, found));
  }
  return set(compound, node);
}

function set(compound: Compound, node: Node | undefined): Status {
  if (node === undefined) {
    return Status.STALE;
  }
  compound.node = node;
  compound.currentState = undefined;
  return Status.OK;
}
