import type { Compound } from "../compound/compound.ts";
import { notAFile } from "../compound/io.ts";
import { writeStateid } from "../compound/stateid.ts";
import { FileType } from "../file-system.ts";
import { Status } from "../protocol/status.ts";
import type { OpenState } from "../state/records.ts";

import { resolveOpen } from "./close.ts";

/** RFC 7530 §16.19. */
export function openConfirm(compound: Compound): Status {
  const { reader, stateid, node } = compound;
  stateid.read(compound.reader);
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
