import type {
  Attributes,
  Cookie,
  Credentials,
  FileType,
  MaybePromise,
  Name,
  SpecialKind,
} from "../../nfs/file-system.ts";

/*
 * What an action's executor does with files: the part of the interface of src/nfs/file-system.ts that a directory on a
 * disk can offer as well as the tree that is served by NFS. No method follows a symlink.
 */

export interface ActionFolder {
  readonly type: typeof FileType.DIRECTORY;
  attributes(): MaybePromise<Pick<Attributes, "mode" | "modifyTime">>;
  /** undefined if there is no such entry. */
  lookup(name: Name): MaybePromise<ActionNode | undefined>;
  /** Visits the entries after `cookie`, until `visit` returns false. Returns true if the last one has been visited. */
  readDirectory(
    cookie: Cookie,
    visit: (name: Name, cookie: Cookie, node: ActionNode) => boolean,
  ): MaybePromise<boolean>;
  createDirectory(
    name: Name,
    owner: Credentials,
    attributes: { readonly mode: number },
  ): MaybePromise<ActionFolder>;
  createSpecial(
    name: Name,
    owner: Credentials,
    special: SpecialKind,
    attributes: { readonly mode: number },
  ): MaybePromise<unknown>;
  /** Not a directory that has entries. */
  remove(name: Name): MaybePromise<void>;
}

export interface ActionFile {
  readonly type: typeof FileType.REGULAR;
  attributes(): Pick<Attributes, "mode" | "size" | "modifyTime">;
  /** At most `count` bytes from `offset` on, and at least one before the end. */
  read(offset: number, count: number): MaybePromise<Uint8Array>;
}

export interface ActionSymlink {
  readonly type: typeof FileType.SYMLINK;
  readonly target: Uint8Array;
}

export interface ActionSpecial {
  readonly type: SpecialKind["type"];
}

export type ActionNode = ActionFolder | ActionFile | ActionSymlink | ActionSpecial;
