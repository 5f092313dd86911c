import type { Compound } from "../compound/compound.ts";
import { isSameNode } from "../compound/io.ts";
import { checkOwnerSeqid } from "../compound/owner-seqid.ts";
import { resolveStateid } from "../compound/stateid.ts";
import { Status } from "../protocol/status.ts";
import { OpenState } from "../state/records.ts";

/** RFC 8881 §18.2. Locks made under the open go with it. */
export function close(compound: Compound): Status {
  const { reader, stateid, context, node } = compound;
  const seqid = reader.uint32();
  stateid.read(compound.reader);
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  const status = resolveOpen(compound, seqid);
  if (status !== Status.OK) {
    return status;
  }
  const open = stateid.state as OpenState;
  if (compound.minorVersion === 0) {
    open.advance();
    context.state.rememberClosed(open, open.owner);
  }
  context.state.close(open);
  compound.currentState = undefined;
  const { writer } = compound;
  if (compound.minorVersion === 0) {
    writer.uint32(open.seqid);
    writer.uint32(context.state.instance);
    writer.uint32(open.index);
    writer.uint32(open.generation);
  } else {
    // The invalid stateid (RFC 8881 §8.2.3): nobody may use it again.
    writer.uint32(0xffff_ffff);
    for (let word = 0; word < 3; word++) {
      writer.uint32(0);
    }
  }
  return Status.OK;
}

/**
 * Finds the open of the stateid just read, which is then `compound.stateid.state`, and in NFSv4.0 checks its owner's
 * seqid.
 */
export function resolveOpen(compound: Compound, seqid: number): Status {
  const { stateid, context, node } = compound;
  if (compound.minorVersion === 0) {
    // A retry carries the earlier seqid, and after a completed CLOSE it names a state that has gone.
    const owner = context.state.findOpenOwner(stateid);
    if (owner !== undefined) {
      const ordered = checkOwnerSeqid(compound, owner, seqid);
      if (ordered !== Status.OK) {
        return ordered;
      }
      compound.client = owner.client;
    }
  }
  const status = resolveStateid(compound);
  if (status !== Status.OK) {
    return status;
  }
  const { state } = stateid;
  if (!(state instanceof OpenState) || !isSameNode(state.file.node, node!)) {
    return Status.BAD_STATEID;
  }
  return Status.OK;
}
