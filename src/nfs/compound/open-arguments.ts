import { XdrError } from "../../xdr/index.ts";
import { Claim, CreateMode, MAXIMUM_OPAQUE, OpenType, Share, Want } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import type { Compound } from "./compound.ts";
import { readName } from "./names.ts";

const KNOWN_IN_MINOR_1 =
  Want.MASK | Want.SIGNAL_DELEGATION_WHEN_RESOURCE_AVAILABLE | Want.PUSH_DELEGATION_WHEN_UNCONTENDED;
/** OPEN4_SHARE_ACCESS_WANT_* by minor version. */
export const KNOWN_WANTS = [
  0,
  KNOWN_IN_MINOR_1,
  KNOWN_IN_MINOR_1 | Want.DELEGATED_TIMESTAMPS | Want.OPEN_XOR_DELEGATION,
] as const;

/** OPEN4args, read into place; attributes to set go to `compound.changeRequest`, the name to `compound.name`. */
export class OpenArguments {
  seqid = 0;
  access = 0;
  deny = 0;
  /** OPEN4_SHARE_ACCESS_WANT_*. */
  want = 0;
  clientHigh = 0;
  clientLow = 0;
  owner = "";
  create = false;
  mode: number = CreateMode.UNCHECKED;
  verifierHigh = 0;
  verifierLow = 0;
  claim = 0;

  /** OK, or the status for arguments that make no sense. Throws XdrError. */
  read(compound: Compound): Status {
    const { reader, changeRequest, minorVersion } = compound;
    this.seqid = reader.uint32();
    const access = reader.uint32();
    this.deny = reader.uint32();
    this.clientHigh = reader.uint32();
    this.clientLow = reader.uint32();
    this.owner = reader.latin1(MAXIMUM_OPAQUE);
    const type = reader.uint32();
    if (type > OpenType.CREATE) {
      throw new XdrError(`expected an opentype4, got ${type}`);
    }
    this.create = type === OpenType.CREATE;
    this.mode = CreateMode.UNCHECKED;
    changeRequest.clear();
    let status: Status = Status.OK;
    if (this.create) {
      this.mode = reader.uint32();
      if (this.mode > (minorVersion === 0 ? CreateMode.EXCLUSIVE : CreateMode.EXCLUSIVE_1)) {
        throw new XdrError(`expected a createmode4, got ${this.mode}`);
      }
      if (this.mode >= CreateMode.EXCLUSIVE) {
        this.verifierHigh = reader.uint32();
        this.verifierLow = reader.uint32();
      }
      if (this.mode !== CreateMode.EXCLUSIVE) {
        status = changeRequest.read(reader, minorVersion);
      }
    }
    const claimStatus = this.#readClaim(compound);
    this.access = access & Share.BOTH;
    this.want = access & ~Share.BOTH;
    if (this.access === 0 || this.deny > Share.BOTH) {
      return Status.INVAL;
    }
    if ((this.want & ~KNOWN_WANTS[minorVersion as 0 | 1 | 2]) !== 0) {
      return Status.INVAL;
    }
    if ((this.want & Want.MASK) > Want.CANCEL) {
      return Status.INVAL;
    }
    return status === Status.OK ? claimStatus : status;
  }

  #readClaim(compound: Compound): Status {
    const { reader, minorVersion } = compound;
    this.claim = reader.uint32();
    switch (this.claim) {
      case Claim.NULL:
      case Claim.DELEGATE_PREVIOUS:
        return readName(compound);
      case Claim.PREVIOUS:
        reader.uint32();
        return Status.OK;
      case Claim.DELEGATE_CURRENT:
        compound.stateid.read(compound);
        return readName(compound);
      case Claim.DELEGATE_CURRENT_FH:
        compound.stateid.read(compound);
        break;
      case Claim.FH:
      case Claim.DELEGATE_PREVIOUS_FH:
        break;
      default:
        throw new XdrError(`expected an open_claim_type4, got ${this.claim}`);
    }
    if (minorVersion === 0) {
      throw new XdrError(`NFSv4.0 has no open_claim_type4 ${this.claim}`);
    }
    return this.create ? Status.INVAL : Status.OK;
  }

  /** The permission bits (as in a mode) that the access needs: read 4, write 2. */
  get permissions(): number {
    return ((this.access & Share.READ) !== 0 ? 4 : 0) | ((this.access & Share.WRITE) !== 0 ? 2 : 0);
  }
}
