import type { Compound } from "../compound/compound.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.51. */
export function reclaimComplete(compound: Compound): Status {
  const oneFileSystem = compound.reader.bool();
  const client = compound.client!;
  if (oneFileSystem) {
    return compound.node === undefined ? Status.NOFILEHANDLE : Status.OK;
  }
  if (client.reclaimComplete) {
    return Status.COMPLETE_ALREADY;
  }
  client.reclaimComplete = true;
  return Status.OK;
}
