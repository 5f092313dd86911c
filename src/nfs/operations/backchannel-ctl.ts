import type { Compound } from "../compound.ts";
import { Status } from "../protocol/status.ts";
import { readSecurity } from "./create-session.ts";

/** RFC 8881 §18.33. */
export function backchannelCtl(compound: Compound): Status {
  const program = compound.reader.uint32();
  const session = compound.session!;
  session.callbackCredential = readSecurity(compound.reader);
  session.callbackProgram = program;
  return Status.OK;
}
