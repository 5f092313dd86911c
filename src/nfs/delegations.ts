import type { Compound } from "./compound.ts";
import type { RegularFile } from "./file-system.ts";
import type { OpenArguments } from "./open-arguments.ts";
import { DelegationType, Want, WhyNoDelegation } from "./protocol/constants.ts";
import { Status } from "./protocol/status.ts";
import type { OpenState } from "./state/states.ts";

/** When delegations are given, recalled and revoked (RFC 8881 §10.4). */
export class Delegations {
  /** OK, or DELAY while a delegation of another client is called back so that the file may change. */
  recallForChange(_compound: Compound, _file: RegularFile, _data: boolean): Status {
    return Status.OK;
  }

  /** OK, or DELAY while a delegation that an OPEN conflicts with is called back. */
  recallForOpen(_compound: Compound, _file: RegularFile, _access: number, _deny: number): Status {
    return Status.OK;
  }

  /** Appends open_delegation4 to OPEN's result. */
  grant(compound: Compound, _open: OpenState, args: OpenArguments): void {
    const { writer } = compound;
    if (args.want === Want.NO_PREFERENCE) {
      writer.uint32(DelegationType.NONE);
      return;
    }
    writer.uint32(DelegationType.NONE_EXT);
    if ((args.want & Want.MASK) === Want.NO_DELEGATION) writer.uint32(WhyNoDelegation.NOT_WANTED);
    else if ((args.want & Want.MASK) === Want.CANCEL) writer.uint32(WhyNoDelegation.CANCELLED);
    else {
      writer.uint32(WhyNoDelegation.RESOURCE);
      writer.bool(false);
    }
  }

  /** FREE_STATEID of a delegation that was revoked. */
  free(_compound: Compound): Status {
    return Status.BAD_STATEID;
  }
}
