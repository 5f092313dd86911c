import type { Compound } from "../compound.ts";
import { Status } from "../protocol/status.ts";
import { skipSecurity } from "./create-session.ts";

/** RFC 8881 §18.33. */
export function backchannelCtl(compound: Compound): Status {
  const program = compound.reader.uint32();
  skipSecurity(compound.reader);
  compound.session!.callbackProgram = program;
  return Status.OK;
}
