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

/**
 * Reads OPEN4args into `compound.openArguments`; attributes to set go to `compound.changeRequest`, the name to
 * `compound.name`. Returns OK, or the status for arguments that make no sense. Throws XdrError.
 */
export function readOpenArguments(compound: Compound): Status {
  const { reader, changeRequest, minorVersion, openArguments: args } = compound;
  args.seqid = reader.uint32();
  const access = reader.uint32();
  args.deny = reader.uint32();
  args.clientHigh = reader.uint32();
  args.clientLow = reader.uint32();
  args.owner = reader.latin1(MAXIMUM_OPAQUE);
  const type = reader.uint32();
  if (type > OpenType.CREATE) {
    throw new XdrError(`expected an opentype4, got ${type}`);
  }
  args.create = type === OpenType.CREATE;
  args.mode = CreateMode.UNCHECKED;
  changeRequest.clear();
  let status: Status = Status.OK;
  if (args.create) {
    args.mode = reader.uint32();
    if (args.mode > (minorVersion === 0 ? CreateMode.EXCLUSIVE : CreateMode.EXCLUSIVE_1)) {
      throw new XdrError(`expected a createmode4, got ${args.mode}`);
    }
    if (args.mode >= CreateMode.EXCLUSIVE) {
      args.verifierHigh = reader.uint32();
      args.verifierLow = reader.uint32();
    }
    if (args.mode !== CreateMode.EXCLUSIVE) {
      status = changeRequest.read(reader, minorVersion);
    }
  }
  const claimStatus = readClaim(compound);
  args.access = access & Share.BOTH;
  args.want = access & ~Share.BOTH;
  if (args.access === 0 || args.deny > Share.BOTH) {
    return Status.INVAL;
  }
  if ((args.want & ~KNOWN_WANTS[minorVersion as 0 | 1 | 2]) !== 0) {
    return Status.INVAL;
  }
  if ((args.want & Want.MASK) > Want.CANCEL) {
    return Status.INVAL;
  }
  return status === Status.OK ? claimStatus : status;
}

function readClaim(compound: Compound): Status {
  const { reader, minorVersion, openArguments: args } = compound;
  args.claim = reader.uint32();
  switch (args.claim) {
    case Claim.NULL:
    case Claim.DELEGATE_PREVIOUS:
      return readName(compound);
    case Claim.PREVIOUS:
      reader.uint32();
      return Status.OK;
    case Claim.DELEGATE_CURRENT:
      compound.stateid.read(compound.reader);
      return readName(compound);
    case Claim.DELEGATE_CURRENT_FH:
      compound.stateid.read(compound.reader);
      break;
    case Claim.FH:
    case Claim.DELEGATE_PREVIOUS_FH:
      break;
    default:
      throw new XdrError(`expected an open_claim_type4, got ${args.claim}`);
  }
  if (minorVersion === 0) {
    throw new XdrError(`NFSv4.0 has no open_claim_type4 ${args.claim}`);
  }
  return args.create ? Status.INVAL : Status.OK;
}
