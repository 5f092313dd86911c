import { FileType, type Node, type RegularFile } from "../file-system.ts";
import { checkFile, checkOpenFile, Permission } from "../permissions/access.ts";
import { Share } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { type Delegation, LockState, OpenState } from "../state/records.ts";
import type { Compound } from "./compound.ts";
import { resolveStateid } from "./stateid.ts";

/**
 * Whether the stateid that was read allows `wanted` (Share.READ or Share.WRITE) of `node` (RFC 8881 §9.1.2).
 * For a special stateid, which carries no permission of its own, `compound.stateid.state` stays undefined.
 */
export function checkIo(compound: Compound, node: RegularFile, wanted: number): Status {
  const { stateid, context } = compound;
  if (stateid.isSpecial) {
    if (wanted === Share.READ && context.state.mutableDelegations > 0) {
      const recalled = context.delegations.recallForRead(compound.caller, node);
      if (recalled !== Status.OK) {
        return recalled;
      }
    }
    if (context.state.denies === 0) {
      return Status.OK;
    }
    // The bypass stateid reads past a deny (RFC 8881 §8.2.3).
    if (stateid.seqid !== 0 && wanted === Share.READ) {
      return Status.OK;
    }
    const status = context.state.checkShare(node, wanted, Share.NONE);
    return status === Status.OK ? Status.OK : Status.LOCKED;
  }
  const status = resolveStateid(compound);
  if (status !== Status.OK) {
    return status;
  }
  const state = stateid.state!;
  if (!isSameNode(state.file.node, node)) {
    return Status.BAD_STATEID;
  }
  let access: number;
  if (state instanceof OpenState) {
    access = state.access;
  } else if (state instanceof LockState) {
    access = state.open.access;
  } else {
    access = (state as Delegation).type === Share.WRITE ? Share.BOTH : Share.READ;
  }
  return (access & wanted) !== 0 ? Status.OK : Status.OPENMODE;
}

/**
 * Whether the caller may read or write (`wanted`) the file at all: by {@link checkFile}, or, under a stateid,
 * by the laxer {@link checkOpenFile}.
 */
export function checkPermission(compound: Compound, file: RegularFile, wanted: number): Status {
  const { credentials } = compound;
  if (credentials.userId === 0) {
    return Status.OK;
  }
  const check = compound.stateid.state === undefined ? checkFile : checkOpenFile;
  const permission = wanted === Share.READ ? Permission.READ : Permission.WRITE;
  return check(file.type, file.attributes(), credentials, permission);
}

export function isSameNode(one: Node, other: Node): boolean {
  return one === other || Buffer.compare(one.handle, other.handle) === 0;
}

/** The status when a client has as many opens or locks as it may. NFSv4.1 has no RESOURCE (RFC 8881 §15.1.16.4). */
export function tooMany(compound: Compound): Status {
  return compound.minorVersion === 0 ? Status.RESOURCE : Status.DELAY;
}

/** The status of an operation on files that was given another kind of node (RFC 8881 §15.1.2.9). */
export function notAFile(node: Node, minorVersion: number): Status {
  if (node.type === FileType.DIRECTORY) {
    return Status.ISDIR;
  }
  if (minorVersion === 0) {
    return Status.INVAL;
  }
  return node.type === FileType.SYMLINK ? Status.SYMLINK : Status.WRONG_TYPE;
}
