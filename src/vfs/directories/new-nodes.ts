import {
  type AttributeChanges,
  FileSystemError,
  FileSystemStatus,
  type SpecialKind,
} from "../../nfs/file-system.ts";
import { INPUT_TIME } from "../clock.ts";
import type { ContentAccount } from "../content/content-places.ts";
import { TreeDevice, TreePipe, TreeSymlink } from "../leaves.ts";
import { normalTarget } from "../names.ts";
import type { TreeContext } from "../node.ts";
import type { Owner } from "../owner.ts";
import { WritableFile } from "../writable-file.ts";
import type { DirectoryAccount } from "./directory-account.ts";

const SYMLINK_MODE = 0o777;
/** Linux's PATH_MAX. */
const MAXIMUM_SYMLINK_TARGET_BYTES = 4096;

/** An empty file. Here and below, only the mode is set: the directory sets the other attributes. */
export function newFile(
  tree: TreeContext,
  account: ContentAccount,
  owner: Owner,
  { mode = 0o644 }: AttributeChanges,
): WritableFile {
  return new WritableFile(tree, account, undefined, mode, owner, undefined);
}

/** Throws NAMETOOLONG if the target has more than 4096 bytes. */
export function newSymlink(
  tree: TreeContext,
  account: ContentAccount,
  owner: Owner,
  target: Uint8Array,
  { mode = SYMLINK_MODE }: AttributeChanges,
): TreeSymlink {
  if (target.length > MAXIMUM_SYMLINK_TARGET_BYTES) {
    throw new FileSystemError(FileSystemStatus.NAMETOOLONG);
  }
  return new TreeSymlink(tree, account, Buffer.from(target).toString("latin1"), mode, owner, undefined);
}

export function newSpecial(
  tree: TreeContext,
  account: ContentAccount,
  owner: Owner,
  special: SpecialKind,
  { mode = 0o644 }: AttributeChanges,
): TreeDevice | TreePipe {
  return "major" in special
    ? new TreeDevice(tree, account, special, mode, owner)
    : new TreePipe(tree, account, special.type, mode, owner);
}

/** A symlink of the input root. */
export function inputSymlink(tree: TreeContext, account: DirectoryAccount, target: string): TreeSymlink {
  return new TreeSymlink(tree, account, normalTarget(target), SYMLINK_MODE, account.owner, INPUT_TIME);
}

export function setsMoreThanMode(attributes: AttributeChanges): boolean {
  return (
    attributes.size !== undefined ||
    attributes.userId !== undefined ||
    attributes.groupId !== undefined ||
    attributes.accessTime !== undefined ||
    attributes.modifyTime !== undefined
  );
}
