import { CreateMode, Share } from "../protocol/constants.ts";

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

  /** The permission bits (as in a mode) that the access needs: read 4, write 2. */
  get permissions(): number {
    return ((this.access & Share.READ) !== 0 ? 4 : 0) | ((this.access & Share.WRITE) !== 0 ? 2 : 0);
  }
}
