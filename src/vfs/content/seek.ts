import { FileSystemError, FileSystemStatus } from "../../nfs/file-system.ts";
import type { Extents } from "./extents.ts";

/** {@link SparseFile.seek} in a file of this size, of which what is in any of the sets is data, and the rest holes. */
export function seek(
  data: readonly Extents[],
  size: number,
  offset: number,
  what: "data" | "hole",
): number | undefined {
  if (offset >= size) {
    throw new FileSystemError(FileSystemStatus.NXIO);
  }
  const dataEnd = (at: number) => first(data.map((extents) => extents.endAt(at)));
  if (what === "data") {
    return dataEnd(offset) === undefined ? first(data.map((extents) => extents.startAfter(offset))) : offset;
  }
  let hole = offset;
  for (let end = dataEnd(hole); end !== undefined; end = dataEnd(hole)) {
    hole = end;
  }
  return Math.min(hole, size);
}

function first(offsets: readonly (number | undefined)[]): number | undefined {
  const known = offsets.filter((offset) => offset !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
