import type { Compound } from "../compound/compound.ts";
import { writeStateid } from "../compound/stateid.ts";
import { Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import type { OpenState } from "../state/records.ts";

import { resolveOpen } from "./close.ts";

/** RFC 8881 §18.18. */
export function openDowngrade(compound: Compound): Status {
  const { reader, stateid, node } = compound;
  stateid.read(compound.reader);
  const seqid = reader.uint32();
  const access = reader.uint32() & (compound.minorVersion === 0 ? 0xffff_ffff : Share.BOTH);
  const deny = reader.uint32();
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  const status = resolveOpen(compound, seqid);
  if (status !== Status.OK) {
    return status;
  }
  const open = stateid.state as OpenState;
  if (access === 0 || access > Share.BOTH || deny > Share.BOTH) {
    return Status.INVAL;
  }
  if ((access & ~open.access) !== 0 || (deny & ~open.deny) !== 0) {
    return Status.INVAL;
  }
  if (!isUnionOfAsked(open.asked, access, deny)) {
    return Status.INVAL;
  }
  compound.context.state.setShare(open, access, deny);
  open.asked = forgetBeyond(open.asked, access, deny);
  open.advance();
  writeStateid(compound, open);
  return Status.OK;
}

/** Whether some of the earlier OPENs, taken together, asked for exactly this. */
function isUnionOfAsked(asked: number, access: number, deny: number): boolean {
  return union(asked, access) === access && union(asked >> 4, deny) === deny;
}

function union(asked: number, within: number): number {
  let bits = 0;
  for (let value = 0; value <= 3; value++) {
    if ((asked & (1 << value)) !== 0 && (value & ~within) === 0) {
      bits |= value;
    }
  }
  return bits;
}

function forgetBeyond(asked: number, access: number, deny: number): number {
  let kept = 0;
  for (let value = 0; value <= 3; value++) {
    if ((value & ~access) === 0) {
      kept |= asked & (1 << value);
    }
    if ((value & ~deny) === 0) {
      kept |= asked & (1 << (value + 4));
    }
  }
  return kept;
}
