import type { Compound } from "../compound/compound.ts";
import { Status } from "../protocol/status.ts";
import type { ServerState } from "./server-state.ts";
import type { State } from "./states.ts";

/** A stateid4 as it was read, and what it stands for. One for each compound, used again and again. */
export class StateidArgument {
  seqid = 0;
  word0 = 0;
  word1 = 0;
  word2 = 0;
  /** After {@link resolve} returned OK: the state, or undefined for the anonymous and the bypass stateid. */
  state: State | undefined;

  read(compound: Compound): void {
    const { reader } = compound;
    this.seqid = reader.uint32();
    this.word0 = reader.uint32();
    this.word1 = reader.uint32();
    this.word2 = reader.uint32();
    this.state = undefined;
  }

  /** The anonymous stateid, or the READ bypass stateid (RFC 8881 §8.2.3). */
  get isSpecial(): boolean {
    const { seqid, word0, word1, word2 } = this;
    if (seqid === 0) {
      return word0 === 0 && word1 === 0 && word2 === 0;
    }
    const ones = 0xffff_ffff;
    return seqid === ones && word0 === ones && word1 === ones && word2 === ones;
  }

  /**
   * Finds the state (RFC 8881 §8.2.4): OK, or the status that says what is wrong with the stateid. Special
   * stateids are for the caller, where it allows them, to see first.
   */
  resolve(compound: Compound): Status {
    const { minorVersion } = compound;
    const { state: serverState } = compound.context;
    let { seqid } = this;
    let state: State | undefined;
    if (minorVersion > 0 && seqid === 1 && this.word0 === 0 && this.word1 === 0 && this.word2 === 0) {
      state = compound.currentState;
      if (state === undefined || serverState.states.get(state.index, state.generation) !== state) {
        return Status.BAD_STATEID;
      }
      seqid = compound.currentSeqid;
    } else {
      if (this.word0 !== serverState.instance) {
        return minorVersion === 0 && !this.isSpecial ? Status.STALE_STATEID : Status.BAD_STATEID;
      }
      state = serverState.states.get(this.word1, this.word2);
      if (state === undefined) {
        return missing(serverState, this.word1, this.word2, minorVersion);
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
    this.state = state;
    return Status.OK;
  }
}

function missing(state: ServerState, index: number, generation: number, minorVersion: number): Status {
  return minorVersion === 0 && state.wasExpired(index, generation) ? Status.EXPIRED : Status.BAD_STATEID;
}

/** In the order of seqids, which start over at 1 after 2^32-1. */
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
