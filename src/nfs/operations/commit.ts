import type { Compound } from "../compound/compound.ts";
import { notAFile } from "../compound/io.ts";
import { FileType } from "../file-system.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.3. */
export async function commit(compound: Compound): Promise<Status> {
  const { reader, node } = compound;
  const offset = reader.exactUint64();
  const count = reader.uint32();
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (node.type !== FileType.REGULAR) {
    return notAFile(node, compound.minorVersion);
  }
  if (typeof offset === "bigint" && offset + BigInt(count) >= 2n ** 64n) {
    return Status.INVAL;
  }
  await node.commit();
  compound.writer.fixed(compound.context.state.verifier);
  return Status.OK;
}
