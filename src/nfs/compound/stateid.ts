import { Status } from "../protocol/status.ts";
import type { State } from "../state/records.ts";
import type { Compound } from "./compound.ts";

/**
 * Finds the state that the stateid just read stands for (RFC 8881 §8.2.4): OK, with the state in
 * `compound.stateid.state`, or the status that says what is wrong with the stateid. A caller that allows special
 * stateids handles them first.
 */
export function resolveStateid(compound: Compound): Status {
  const { minorVersion, stateid } = compound;
  const { state: serverState } = compound.context;
  let { seqid } = stateid;
  let state: State | undefined;
  if (minorVersion > 0 && stateid.isCurrent) {
    state = compound.currentState;
    if (state === undefined || serverState.states.get(state.index, state.generation) !== state) {
      return Status.BAD_STATEID;
    }
    seqid = compound.currentSeqid;
  } else {
    if (stateid.word0 !== serverState.instance) {
      return minorVersion === 0 && !stateid.isSpecial ? Status.STALE_STATEID : Status.BAD_STATEID;
    }
    state = serverState.states.get(stateid.word1, stateid.word2);
    if (state === undefined) {
      const expired = minorVersion === 0 && serverState.wasExpired(stateid.word1, stateid.word2);
      return expired ? Status.EXPIRED : Status.BAD_STATEID;
    }
    if (minorVersion > 0 && state.client !== compound.client) {
      return Status.BAD_STATEID;
    }
  }
  if (state.revoked) {
    return Status.DELEG_REVOKED;
  }
  if (seqid !== state.seqid && !(seqid === 0 && minorVersion > 0)) {
    return isBefore(seqid, state.seqid) ? Status.OLD_STATEID : Status.BAD_STATEID;
  }
  if (minorVersion === 0) {
    state.client.renewedAt = serverState.now;
    compound.client = state.client;
    compound.connection.nameClient(state.client);
  }
  stateid.state = state;
  return Status.OK;
}

/** Whether `seqid` comes before `other`: seqids start over at 1 after 2^32-1. */
function isBefore(seqid: number, other: number): boolean {
  return ((other - seqid) | 0) > 0;
}

/** Appends the state's stateid4, and makes it the current stateid. */
export function writeStateid(compound: Compound, state: State): void {
  compound.currentState = state;
  compound.currentSeqid = state.seqid;
  const { writer } = compound;
  writer.uint32(state.seqid);
  writer.uint32(compound.context.state.instance);
  writer.uint32(state.index);
  writer.uint32(state.generation);
}
