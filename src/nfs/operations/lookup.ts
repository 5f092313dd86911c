import type { Compound } from "../compound/compound.ts";
import { readName } from "../compound/names.ts";
import { FileType, type MaybePromise, type Node } from "../file-system.ts";
import { checkNode, Permission } from "../permissions/access.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.13. */
export function lookup(compound: Compound): MaybePromise<Status> {
  const named = readName(compound);
  const { node, name } = compound;
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (node.type !== FileType.DIRECTORY) {
    return node.type === FileType.SYMLINK ? Status.SYMLINK : Status.NOTDIR;
  }
  if (named !== Status.OK) {
    return named;
  }
  const { gate } = compound.context;
  if (gate !== undefined && node === gate.root) {
    return enter(compound, name);
  }
  const permitted = checkNode(node, compound.credentials, Permission.EXECUTE);
  if (permitted !== Status.OK) {
    return permitted;
  }
  const found = node.lookup(name);
  return found instanceof Promise ? found.then((arrived) => set(compound, arrived)) : set(compound, found);
}

function set(compound: Compound, node: Node | undefined): Status {
  if (node === undefined) {
    return Status.NOENT;
  }
  compound.node = node;
  compound.currentState = undefined;
  return Status.OK;
}

/** Only the armed name leads on from the gate's root; the first client that knows it is admitted. */
function enter(compound: Compound, name: string): Status {
  const { gate, fileSystem } = compound.context;
  if (compound.client === undefined || !gate!.admits(name, compound.client)) {
    return Status.NOENT;
  }
  compound.client.admitted = true;
  compound.admitted = true;
  return set(compound, fileSystem.root);
}
