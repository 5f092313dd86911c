import type { XdrWriter } from "../../xdr/index.ts";
import type { Directory, MaybePromise } from "../file-system.ts";
import { andThen } from "../permissions/access.ts";

export function changeOf(directory: Directory): MaybePromise<number> {
  const attributes = directory.attributes();
  return attributes instanceof Promise ? attributes.then(({ change }) => change) : attributes.change;
}

/**
 * Appends change_info4. Every change counts the attribute up by at least one, so a difference of at most one
 * proves that nothing but this operation came between: the client may then keep what it has cached.
 */
export function writeChangeInfo(writer: XdrWriter, before: number, after: number, exclusive: boolean): void {
  writer.bool(exclusive || after - before <= 1);
  writer.uint64(before);
  writer.uint64(after);
}

/** Runs `change` on the directory and passes on its change attribute from before and after. */
export function withChange<T>(
  directory: Directory,
  change: () => MaybePromise<T>,
  next: (result: T, before: number, after: number, exclusive: boolean) => MaybePromise<number>,
): MaybePromise<number> {
  return andThen(changeOf(directory), (before) => {
    const changed = change();
    const exclusive = !(changed instanceof Promise);
    return andThen(changed, (result) =>
      andThen(changeOf(directory), (after) => next(result, before, after, exclusive)),
    );
  });
}
