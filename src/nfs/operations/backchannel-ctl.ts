import type { Compound } from "../compound/compound.ts";
import { Status } from "../protocol/status.ts";
import { readSecurity } from "./create-session.ts";

/** RFC 8881 §18.33. */
export function backchannelCtl(compound: Compound): Status {
  const program = compound.reader.uint32();
  const { backChannel } = compound.session!;
  backChannel.credential = readSecurity(compound.reader);
  backChannel.program = program;
  return Status.OK;
}
