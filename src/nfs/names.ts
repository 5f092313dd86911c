import type { Compound } from "./compound.ts";
import type { Name } from "./file-system.ts";
import { MAXIMUM_NAME } from "./protocol/constants.ts";
import { Status } from "./protocol/status.ts";

/** Reads a component4 into `compound.name` and says whether it can name an entry. */
export function readName(compound: Compound): Status {
  const { reader } = compound;
  const name = reader.latin1(reader.remaining);
  compound.name = name;
  return checkName(name);
}

export function checkName(name: Name): Status {
  const { length } = name;
  if (length === 0) return Status.INVAL;
  if (length > MAXIMUM_NAME) return Status.NAMETOOLONG;
  if (length <= 2 && (name === "." || name === "..")) return Status.BADNAME;
  for (let index = 0; index < length; index++) {
    const char = name.charCodeAt(index);
    if (char === 0x2f || char === 0) return Status.BADCHAR;
  }
  return Status.OK;
}
