import type { Compound } from "../compound/compound.ts";
import { FileType } from "../file-system.ts";
import { Status } from "../protocol/status.ts";
import { notAFile } from "../state/io.ts";
import { writeStateid } from "../state/stateid.ts";
import type { OpenState } from "../state/states.ts";
import { resolveOpen } from "./close.ts";

/** RFC 7530 §16.19. */
export function openConfirm(compound: Compound): Status {
  const { reader, stateid, node } = compound;
  stateid.read(compound);
  const seqid = reader.uint32();
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (node.type !== FileType.REGULAR) {
    return notAFile(node, 0);
  }
  const status = resolveOpen(compound, seqid);
  if (status !== Status.OK) {
    return status;
  }
  const open = stateid.state as OpenState;
  if (open.owner.confirmed) {
    return Status.BAD_STATEID;
  }
  open.owner.confirmed = true;
  open.advance();
  writeStateid(compound, open);
  return Status.OK;
}
