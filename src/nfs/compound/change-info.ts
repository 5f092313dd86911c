import type { XdrWriter } from "../../xdr/index.ts";
import type { MaybePromise, Node } from "../file-system.ts";

/** A change that has been made, with the node's change attribute from before and after it. */
export interface Changed<T> {
  readonly result: T;
  readonly before: number;
  readonly after: number;
  /** No other change can have come between. */
  readonly exclusive: boolean;
}

/** Makes the change. If it need not wait, both change attributes are taken in the same tick as the change itself. */
export async function makeChange<T>(node: Node, change: () => MaybePromise<T>): Promise<Changed<T>> {
  const before = node.attributes().change;
  const changed = change();
  const exclusive = !(changed instanceof Promise);
  const result = exclusive ? changed : await changed;
  return { result, before, after: node.attributes().change, exclusive };
}

/**
 * Appends change_info4. Every change raises the attribute by at least one, so a difference of at most one proves
 * that this operation made the only change: the client may then keep what it has cached.
 */
export function writeChangeInfo(
  writer: XdrWriter,
  { before, after, exclusive }: Omit<Changed<unknown>, "result">,
): void {
  writer.bool(exclusive || after - before <= 1);
  writer.uint64(before);
  writer.uint64(after);
}
