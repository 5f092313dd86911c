import type { Node } from "../file-system.ts";
import { FileType } from "../file-system.ts";
import type { ServerState } from "../state/server-state.ts";

/**
 * The node to change by its handle: itself, or what has taken the place of an immutable file that a client has open, as it
 * must where that has no name for it. Delegations of the file have been recalled.
 */
export function changeable<Changed extends Node>(state: ServerState, node: Changed): Changed | Node {
  if (node.type !== FileType.REGULAR || !node.immutable) {
    return node;
  }
  const file = state.findFile(node);
  if (file === undefined || file.opens.length === 0) {
    return node;
  }
  const taken = node.takeOver?.();
  if (taken === undefined) {
    return node;
  }
  file.become(taken);
  return taken;
}
