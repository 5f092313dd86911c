import type { Compound } from "../compound/compound.ts";
import { resolveStateid } from "../compound/stateid.ts";
import { Status } from "../protocol/status.ts";

const MAXIMUM_STATEIDS = 4096;

/** RFC 8881 §18.48. */
export function testStateid(compound: Compound): Status {
  const { reader, writer, stateid } = compound;
  const count = reader.length(MAXIMUM_STATEIDS);
  writer.uint32(count);
  for (let index = 0; index < count; index++) {
    stateid.read(compound.reader);
    // The special value for the current stateid means nothing here.
    const special = stateid.isSpecial || (stateid.word0 === 0 && stateid.word1 === 0 && stateid.word2 === 0);
    writer.uint32(special ? Status.BAD_STATEID : resolveStateid(compound));
  }
  return Status.OK;
}
