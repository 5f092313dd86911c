import { writeBitmap } from "../attributes/bitmap.ts";
import { andThen } from "../compound/and-then.ts";
import { type Changed, writeChangeInfo } from "../compound/change-info.ts";
import type { Compound } from "../compound/compound.ts";
import { isSameNode, notAFile, tooMany } from "../compound/io.ts";
import type { OpenArguments } from "../compound/open-arguments.ts";
import { checkOwnerSeqid } from "../compound/owner-seqid.ts";
import { readOpenArguments } from "../compound/read-open-arguments.ts";
import { resolveStateid, writeStateid } from "../compound/stateid.ts";
import {
  type AttributeChanges,
  type Credentials,
  type Directory,
  FileType,
  type MaybePromise,
  type Node,
  type RegularFile,
} from "../file-system.ts";
import { checkFile, checkNode, Permission } from "../permissions/access.ts";
import { addSetIdChanges, inherit } from "../permissions/ownership.ts";
import { Claim, CreateMode, OpenResult, Share, Want } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import { Delegation, type OpenState } from "../state/records.ts";

/** RFC 8881 §18.16. */
export function open(compound: Compound): MaybePromise<Status> {
  const args = compound.openArguments;
  const valid = readOpenArguments(compound);
  const { node } = compound;
  const identified = compound.minorVersion === 0 ? identify(compound, args) : Status.OK;
  if (identified !== Status.OK) {
    return identified;
  }
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (valid !== Status.OK) {
    return valid;
  }
  if (!compound.context.state.mayAddState(compound.client!)) {
    return tooMany(compound);
  }
  switch (args.claim) {
    case Claim.NULL:
    case Claim.FH:
      // RFC 8881 §18.51.3.
      if (compound.minorVersion > 0 && !compound.client!.reclaimComplete) {
        return Status.GRACE;
      }
      break;
    case Claim.DELEGATE_CURRENT:
    case Claim.DELEGATE_CURRENT_FH:
      break;
    case Claim.PREVIOUS:
      // State does not outlive the server: there is nothing to reclaim.
      return Status.NO_GRACE;
    default:
      return Status.NOTSUPP;
  }
  if (args.claim === Claim.NULL || args.claim === Claim.DELEGATE_CURRENT) {
    if (node.type !== FileType.DIRECTORY) {
      return notADirectory(node, compound.minorVersion);
    }
    return openByName(compound, args, node);
  }
  if (node.type !== FileType.REGULAR) {
    return notAFile(node, compound.minorVersion);
  }
  return openByHandle(compound, args, node);
}

function notADirectory(node: Node, minorVersion: number): Status {
  return minorVersion > 0 && node.type === FileType.SYMLINK ? Status.SYMLINK : Status.NOTDIR;
}

/** NFSv4.0: the request names its client, and the owner's seqid orders it. */
function identify(compound: Compound, args: OpenArguments): Status {
  const { state } = compound.context;
  const client = state.clients.find(args.clientHigh, args.clientLow);
  if (client === undefined) {
    return state.clients.whyNone(args.clientHigh, args.clientLow);
  }
  if (!client.confirmed || client.minorVersion !== 0) {
    return Status.STALE_CLIENTID;
  }
  client.renewedAt = state.now;
  compound.client = client;
  compound.connection.nameClient(client);
  const owner = state.openOwner(client, args.owner);
  // RFC 7530 §16.18.5: an owner that was never confirmed starts over.
  if (!owner.confirmed && owner.sequence !== undefined && args.seqid !== owner.sequence.seqid) {
    for (const opened of [...owner.opens.values()]) {
      state.close(opened);
    }
    owner.sequence = undefined;
  }
  return checkOwnerSeqid(compound, owner, args.seqid);
}

function openByHandle(compound: Compound, args: OpenArguments, file: RegularFile): MaybePromise<Status> {
  if (args.claim === Claim.DELEGATE_CURRENT_FH) {
    const status = checkDelegation(compound, file);
    if (status !== Status.OK) {
      return status;
    }
  }
  const permitted = checkFile(file.type, file.attributes(), compound.credentials, args.permissions);
  if (permitted !== Status.OK) {
    return permitted;
  }
  if (file.immutable && (args.access & Share.WRITE) !== 0) {
    const recalled = compound.context.delegations.recallForChange(compound.caller, file);
    if (recalled !== Status.OK) {
      return recalled;
    }
    // The client looks the name up again, and finds the copy to be written.
    file.redirectWriting?.();
    return Status.STALE;
  }
  return finish(compound, args, { file, before: 0, after: 0, exclusive: true, word0: 0, word1: 0 });
}

function openByName(compound: Compound, args: OpenArguments, directory: Directory): MaybePromise<Status> {
  const { name } = compound;
  const permitted = checkNode(directory, compound.credentials, Permission.EXECUTE);
  if (permitted !== Status.OK) {
    return permitted;
  }
  return andThen(directory.lookup(name), (found) => {
    if (found !== undefined) {
      return openExisting(compound, args, directory, name, found);
    }
    return args.create ? createNew(compound, args, directory, name) : Status.NOENT;
  });
}

function createNew(
  compound: Compound,
  args: OpenArguments,
  directory: Directory,
  name: string,
): MaybePromise<Status> {
  const { credentials, changeRequest } = compound;
  const permitted = checkNode(directory, credentials, Permission.WRITE | Permission.EXECUTE);
  if (permitted !== Status.OK) {
    return permitted;
  }
  const attributes = directory.attributes();
  const before = attributes.change;
  const owner = inherit(attributes, credentials, changeRequest.changes, false);
  const created = directory.createFile(name, owner, changeRequest.changes);
  const exclusive = !(created instanceof Promise);
  return andThen(created, (file) => {
    const { word0, word1 } = changeRequest;
    const after = directory.attributes().change;
    const status = finish(compound, args, { file, before, after, exclusive, word0, word1 });
    if (status === Status.OK && args.mode >= CreateMode.EXCLUSIVE) {
      const state = compound.context.state.findFile(file)!;
      state.createdExclusively = true;
      state.createVerifierHigh = args.verifierHigh;
      state.createVerifierLow = args.verifierLow;
    }
    return status;
  });
}

function openExisting(
  compound: Compound,
  args: OpenArguments,
  directory: Directory,
  name: string,
  node: Node,
): MaybePromise<Status> {
  if (args.create && args.mode !== CreateMode.UNCHECKED && !isRetry(compound, args, node)) {
    return Status.EXIST;
  }
  if (node.type !== FileType.REGULAR) {
    return notOpenable(node);
  }
  if (args.claim === Claim.DELEGATE_CURRENT) {
    const status = checkDelegation(compound, node);
    if (status !== Status.OK) {
      return status;
    }
  }
  const { context, credentials } = compound;
  const truncate = args.create && compound.changeRequest.changes.size === 0;
  const wanted = args.permissions | (truncate ? Permission.WRITE : 0);
  // The creator of a file may open it whatever its mode; so may a retry of that request.
  const permitted = checkFile(node.type, node.attributes(), credentials, wanted);
  if (permitted !== Status.OK && args.mode === CreateMode.UNCHECKED) {
    return permitted;
  }
  const shared = context.state.checkShare(node, args.access, args.deny);
  if (shared !== Status.OK) {
    return shared;
  }
  const before = directory.attributes().change;
  const copies = node.immutable && (wanted & Permission.WRITE) !== 0;
  if (copies) {
    const recalled = context.delegations.recallForRemoval(compound.caller, node);
    if (recalled !== Status.OK) {
      return recalled;
    }
  }
  const ready = copies ? directory.openForWriting(name, node, truncate) : node;
  const exclusive = !(ready instanceof Promise);
  return andThen(ready, (file) => {
    if (truncate) {
      const recalled = context.delegations.recallForChange(compound.caller, file);
      if (recalled !== Status.OK) {
        return recalled;
      }
    }
    return andThen(truncate ? empty(file, credentials) : undefined, () => {
      const after = directory.attributes().change;
      const word0 = truncate ? SIZE_BIT : 0;
      return finish(compound, args, { file, before, after, exclusive, word0, word1: 0 });
    });
  });
}

const SIZE_BIT = 1 << 4;

function empty(file: RegularFile, credentials: Credentials): MaybePromise<void> {
  const changes: AttributeChanges = { size: 0 };
  addSetIdChanges(file.type, file.attributes(), credentials, changes);
  return file.setAttributes(changes);
}

/** An exclusive create that has been done before: the verifier is the one it was done with. */
function isRetry(compound: Compound, args: OpenArguments, node: Node): boolean {
  if (args.mode < CreateMode.EXCLUSIVE || node.type !== FileType.REGULAR) {
    return false;
  }
  const file = compound.context.state.findFile(node);
  return (
    file?.createdExclusively === true &&
    file.createVerifierHigh === args.verifierHigh &&
    file.createVerifierLow === args.verifierLow
  );
}

/**
 * For devices, FIFOs and sockets RFC 8881 §18.16.3 prescribes WRONG_TYPE, which Linux clients (6.1) turn into EIO; at
 * SYMLINK, RFC 7530's answer, they look up the name and open it themselves.
 */
function notOpenable(node: Node): Status {
  return node.type === FileType.DIRECTORY ? Status.ISDIR : Status.SYMLINK;
}

/** CLAIM_DELEGATE_CUR: the stateid must be that of the client's delegation on the file. */
function checkDelegation(compound: Compound, file: RegularFile): Status {
  const { client } = compound;
  const status = resolveStateid(compound);
  compound.client = client;
  if (status !== Status.OK) {
    return status;
  }
  const { state } = compound.stateid;
  return state instanceof Delegation && state.client === client && isSameNode(state.file.node, file)
    ? Status.OK
    : Status.BAD_STATEID;
}

/** What OPEN has found or made: the file, the directory's change, and the attributes that were set. */
interface Opened extends Omit<Changed<unknown>, "result"> {
  readonly file: RegularFile;
  readonly word0: number;
  readonly word1: number;
}

/** Everything is known: takes the share reservation and writes OPEN4resok. */
function finish(compound: Compound, args: OpenArguments, outcome: Opened): Status {
  const { file, word0, word1 } = outcome;
  const { context, writer, minorVersion } = compound;
  const { state, delegations } = context;
  const shared = state.checkShare(file, args.access, args.deny);
  if (shared !== Status.OK) {
    return shared;
  }
  const recalled = delegations.recallForOpen(compound.caller, file, args.access, args.deny);
  if (recalled !== Status.OK) {
    return recalled;
  }
  const owner = state.openOwner(compound.client!, args.owner);
  const opened = state.open(owner, file, args.access, args.deny);
  const delegation = delegations.grant(opened, args.access, args.want);
  compound.node = file;
  let result = OpenResult.LOCKTYPE_POSIX as number;
  if (delegation !== undefined && replacesOpen(args, opened, delegation)) {
    state.close(opened);
    result |= OpenResult.NO_OPEN_STATEID;
    for (let word = 0; word < 4; word++) {
      writer.uint32(0);
    }
    compound.currentState = delegation;
    compound.currentSeqid = delegation.seqid;
  } else {
    writeStateid(compound, opened);
  }
  writeChangeInfo(writer, outcome);
  if (minorVersion > 0) {
    result |= OpenResult.PRESERVE_UNLINKED;
    if (compound.session!.backChannel.isUp) {
      result |= OpenResult.MAY_NOTIFY_LOCK;
    }
  } else if (!owner.confirmed) {
    result |= OpenResult.CONFIRM;
  }
  writer.uint32(result);
  writeBitmap(writer, word0, word1, 0);
  delegations.write(writer, delegation, opened.client, file, args.access, args.want);
  return Status.OK;
}

/**
 * Whether the delegation is given instead of the open, to a client that wants only one (RFC 9754 §4). If it already
 * has the file open, it must learn the open's new seqid. A delegation denies nothing to others, and one for reading
 * does not allow writing.
 */
function replacesOpen(args: OpenArguments, opened: OpenState, delegation: Delegation): boolean {
  if ((args.want & Want.OPEN_XOR_DELEGATION) === 0 || opened.seqid !== 1) {
    return false;
  }
  return args.deny === Share.NONE && (delegation.type === Share.WRITE || args.access === Share.READ);
}
