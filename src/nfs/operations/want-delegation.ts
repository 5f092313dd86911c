import { XdrError } from "../../xdr/index.ts";
import type { Compound } from "../compound/compound.ts";
import { notAFile } from "../compound/io.ts";
import { KNOWN_WANTS } from "../compound/read-open-arguments.ts";
import { FileType } from "../file-system.ts";
import { checkFile, Permission } from "../permissions/access.ts";
import { Claim, Share, Want } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";

/** RFC 8881 §18.49. A delegation that cannot be given at once is refused: the server remembers no wants. */
export function wantDelegation(compound: Compound): Status {
  const { reader, node, minorVersion, credentials, context } = compound;
  const want = reader.uint32();
  const claim = reader.uint32();
  if (claim === Claim.PREVIOUS) {
    reader.uint32();
  } else if (claim !== Claim.FH && claim !== Claim.DELEGATE_PREVIOUS_FH) {
    throw new XdrError(`expected a claim of WANT_DELEGATION, got ${claim}`);
  }
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  const wanted = want & Want.MASK;
  if ((want & ~KNOWN_WANTS[minorVersion as 1 | 2]) !== 0 || wanted > Want.CANCEL) {
    return Status.INVAL;
  }
  if (wanted === Want.NO_PREFERENCE || wanted === Want.NO_DELEGATION) {
    return Status.INVAL;
  }
  if (claim === Claim.PREVIOUS) {
    return Status.NO_GRACE;
  }
  if (claim === Claim.DELEGATE_PREVIOUS_FH) {
    return Status.NOTSUPP;
  }
  const client = compound.client!;
  if (!client.reclaimComplete) {
    return Status.GRACE;
  }
  if (node.type !== FileType.REGULAR) {
    return notAFile(node, minorVersion);
  }
  const attributes = node.attributes();
  const may = (permissions: number) =>
    checkFile(node.type, attributes, credentials, permissions) === Status.OK;
  const mayWrite = may(Permission.READ | Permission.WRITE);
  if (!may(Permission.READ) || (wanted === Want.WRITE_DELEGATION && !mayWrite)) {
    return Status.ACCESS;
  }
  const access = wanted === Want.READ_DELEGATION || !mayWrite ? Share.READ : Share.BOTH;
  const { delegations, state } = context;
  const delegation = delegations.give(client, node, state.findFile(node), access, want);
  delegations.write(compound.writer, delegation, client, node, access, want);
  return Status.OK;
}
