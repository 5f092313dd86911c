import type { Compound } from "../compound/compound.ts";
import { checkIo, notAFile } from "../compound/io.ts";
import { FileType } from "../file-system.ts";
import { Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";

const MAXIMUM_WORDS = 64;

/** RFC 7862 §15.5. No advice is taken. */
export function ioAdvise(compound: Compound): Status {
  const { reader, writer, node } = compound;
  compound.stateid.read(compound.reader);
  reader.skip(16);
  reader.skip(4 * reader.length(MAXIMUM_WORDS));
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (node.type !== FileType.REGULAR) {
    return notAFile(node, compound.minorVersion);
  }
  const status = checkIo(compound, node, Share.READ);
  if (status !== Status.OK && status !== Status.OPENMODE) {
    return status;
  }
  writer.uint32(0);
  return Status.OK;
}
