import { isUtf8 } from "node:buffer";
import type { Name } from "../file-system.ts";
import { MAXIMUM_NAME } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import type { Compound } from "./compound.ts";

/** Reads a component4 into `compound.name` and says whether it can name an entry. */
export function readName(compound: Compound): Status {
  const { reader } = compound;
  const name = reader.latin1(reader.remaining);
  compound.name = name;
  return checkName(name, compound.context.utf8Names);
}

/** `utf8`: bytes that are not UTF-8 are INVAL (RFC 8881 §14.5, RFC 7530 §12.7). */
function checkName(name: Name, utf8: boolean): Status {
  const { length } = name;
  if (length === 0) {
    return Status.INVAL;
  }
  if (length > MAXIMUM_NAME) {
    return Status.NAMETOOLONG;
  }
  if (length <= 2 && (name === "." || name === "..")) {
    return Status.BADNAME;
  }
  let ascii = true;
  for (let index = 0; index < length; index++) {
    const char = name.charCodeAt(index);
    if (char === 0x2f || char === 0) {
      return Status.BADCHAR;
    }
    if (char > 0x7f) {
      ascii = false;
    }
  }
  return ascii || !utf8 || isUtf8Name(name) ? Status.OK : Status.INVAL;
}

export function isUtf8Name(name: Name): boolean {
  return isUtf8(Buffer.from(name, "latin1"));
}
