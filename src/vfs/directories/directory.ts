/*
 * Longer than 400 lines because a directory's changes reach into other directories: only within one class can they
 * see each other's private fields.
 */
import { setImmediate } from "node:timers/promises";
import {
  type AttributeChanges,
  type Cookie,
  type Credentials,
  type Directory,
  type EntryVisitor,
  FileSystemError,
  FileSystemStatus,
  FileType,
  type MaybePromise,
  type Name,
  type Node,
  type RegularFile,
  type SpecialKind,
} from "../../nfs/file-system.ts";
import type { Digest } from "../../reapi/digest.ts";
import { CasFile } from "../cas-file.ts";
import { INPUT_TIME } from "../clock.ts";
import type { TreeDevice, TreePipe, TreeSymlink } from "../leaves.ts";
import { Leaf, NumberedNode, refuseSize, type TreeContext } from "../node.ts";
import type { Owner } from "../owner.ts";
import { WritableFile } from "../writable-file.ts";
import type { DirectoryAccount } from "./directory-account.ts";
import type { Entries } from "./entries.ts";
import { InputAccess } from "./input-access.ts";
import { LazyEntries } from "./lazy-entries.ts";
import { inputSymlink, newFile, newSpecial, newSymlink, setsMoreThanMode } from "./new-nodes.ts";

/** The mode of directories that actions do not make themselves, as in Buildbarn. */
export const DIRECTORY_MODE = 0o777;
const DIRECTORY_SIZE = 4096;
/** By its name and by "."; each subdirectory adds its "..". */
const EMPTY_LINK_COUNT = 2;
/** What programs take to mean that subdirectories are not counted, as those of a lazy directory cannot be. */
const UNKNOWN_LINK_COUNT = 1;
/** Entries among which the only name of a file is looked for. */
const MOST_SEARCHED = 20_000;
/** Nodes; takes about 2 ms. */
const DISCARDED_AT_ONCE = 1000;

export type TreeLeaf = WritableFile | CasFile | TreeSymlink | TreeDevice | TreePipe;
export type TreeNode = TreeDirectory | TreeLeaf;

/**
 * A directory of one action. In the input root it begins as a mere digest; its entries come from the CAS when
 * something looks into it ({@link LazyEntries}).
 */
export class TreeDirectory extends NumberedNode implements Directory {
  readonly type = FileType.DIRECTORY;
  readonly account: DirectoryAccount;
  readonly #entries: LazyEntries<TreeNode>;
  readonly #access: InputAccess | undefined;
  #parent: Directory | undefined;
  /** Whether this directory or one below it differs from the CAS; if so, it is set in all those above. */
  #unlikeCas = false;
  #removed = false;

  /**
   * `origin`: the directory of the CAS that it begins as; undefined for a new, empty one. `access` takes down what is
   * looked at of it.
   */
  constructor(
    tree: TreeContext,
    account: DirectoryAccount,
    parent: Directory,
    origin: Digest | undefined,
    mode: number,
    owner: Owner,
    access?: InputAccess,
  ) {
    super(tree, mode, owner, origin === undefined ? undefined : INPUT_TIME, account.quota);
    this.account = account;
    this.#parent = parent;
    this.#entries = new LazyEntries<TreeNode>(tree, account, origin, access);
    this.#access = access;
    const attributes = this.attributes();
    attributes.size = DIRECTORY_SIZE;
    attributes.linkCount = origin === undefined ? EMPTY_LINK_COUNT : UNKNOWN_LINK_COUNT;
  }

  /** The digest, if this directory and all below it are as the CAS has them. */
  get digest(): Digest | undefined {
    return this.#unlikeCas ? undefined : this.#entries.digest;
  }

  /** Whether the entries are in memory. */
  get isExpanded(): boolean {
    return this.#entries.loaded !== undefined;
  }

  parent(): Directory | undefined {
    return this.#parent;
  }

  setAttributes(changes: AttributeChanges): void {
    refuseSize(changes);
    this.applyChanges(changes);
  }

  lookup(name: Name): MaybePromise<TreeNode | undefined> {
    const loading = this.#entries.load();
    return loading === undefined ? this.#lookup(name) : loading.then(() => this.#lookup(name));
  }

  readDirectory(cookie: Cookie, visit: EntryVisitor): MaybePromise<boolean> {
    return this.#whenLoaded(() => this.#readDirectory(cookie, visit));
  }

  openForWriting(name: Name, _file: RegularFile, truncate: boolean): MaybePromise<RegularFile> {
    return this.#whenLoaded(() => this.#openForWriting(name, truncate));
  }

  createFile(name: Name, owner: Credentials, attributes: AttributeChanges): MaybePromise<WritableFile> {
    return this.#create(name, () => newFile(this.tree, this.account, owner, attributes), attributes);
  }

  createDirectory(name: Name, owner: Credentials, attributes: AttributeChanges): MaybePromise<TreeDirectory> {
    const mode = attributes.mode ?? 0o755;
    return this.#create(name, () => this.#newDirectory(undefined, mode, owner), attributes);
  }

  /** Throws NAMETOOLONG if the target has more than 4096 bytes. */
  createSymlink(
    name: Name,
    owner: Credentials,
    target: Uint8Array,
    attributes: AttributeChanges,
  ): MaybePromise<TreeSymlink> {
    return this.#create(
      name,
      () => newSymlink(this.tree, this.account, owner, target, attributes),
      attributes,
    );
  }

  createSpecial(
    name: Name,
    owner: Credentials,
    special: SpecialKind,
    attributes: AttributeChanges,
  ): MaybePromise<TreeDevice | TreePipe> {
    return this.#create(
      name,
      () => newSpecial(this.tree, this.account, owner, special, attributes),
      attributes,
    );
  }

  /** Adds a directory of the CAS, fetching nothing. Throws EXIST. */
  attach(name: Name, digest: Digest, access?: InputAccess): MaybePromise<TreeDirectory> {
    const make = () => this.#newDirectory(digest, DIRECTORY_MODE, this.account.owner, access);
    return this.#create(name, make, {});
  }

  link(name: Name, node: Node): MaybePromise<void> {
    if (node instanceof CasFile) {
      // The new name shares the inode of a private copy; if nothing is ever written, the blob itself will do.
      if (!this.tree.inputsReadOnly) {
        node.redirectWriting();
      }
    } else if (!(node instanceof Leaf) || node.account !== this.account) {
      throw new FileSystemError(FileSystemStatus.XDEV);
    }
    return this.#whenLoaded(() => this.#link(name, node as TreeLeaf));
  }

  remove(name: Name): MaybePromise<void> {
    const loading = this.#entries.load();
    if (loading !== undefined) {
      return loading.then(() => this.remove(name));
    }
    this.#requireNotRemoved();
    const entries = this.#entries.loaded!;
    const position = entries.find(name);
    if (position < 0) {
      throw new FileSystemError(FileSystemStatus.NOENT);
    }
    const child = this.#childAt(entries, position);
    if (child instanceof TreeDirectory) {
      const loadingChild = child.#entries.load();
      if (loadingChild !== undefined) {
        return loadingChild.then(() => this.remove(name));
      }
      child.#requireEmpty();
    }
    entries.remove(position);
    this.#countSubdirectory(child, -1);
    this.#drop(child);
    this.#markEntriesChanged();
  }

  rename(name: Name, target: Directory, newName: Name): MaybePromise<void> {
    if (!(target instanceof TreeDirectory) || target.account !== this.account) {
      throw new FileSystemError(FileSystemStatus.XDEV);
    }
    const loading = this.#entries.load() ?? target.#entries.load();
    if (loading !== undefined) {
      return loading.then(() => this.rename(name, target, newName));
    }
    this.#requireNotRemoved();
    target.#requireNotRemoved();
    const entries = this.#entries.loaded!;
    const position = entries.find(name);
    if (position < 0) {
      throw new FileSystemError(FileSystemStatus.NOENT);
    }
    const child = this.#childAt(entries, position);
    if (child instanceof TreeDirectory && child.#contains(target)) {
      throw new FileSystemError(FileSystemStatus.INVAL);
    }
    const targetEntries = target.#entries.loaded!;
    const targetPosition = targetEntries.find(newName);
    const replaced = targetPosition < 0 ? undefined : target.#childAt(targetEntries, targetPosition);
    if (replaced !== undefined) {
      if (isSame(child, replaced)) {
        return;
      }
      if (child instanceof TreeDirectory !== replaced instanceof TreeDirectory) {
        throw new FileSystemError(FileSystemStatus.EXIST);
      }
      if (replaced instanceof TreeDirectory) {
        const loadingReplaced = replaced.#entries.load();
        if (loadingReplaced !== undefined) {
          return loadingReplaced.then(() => this.rename(name, target, newName));
        }
        replaced.#requireEmpty();
      }
      targetEntries.remove(targetPosition);
      target.#countSubdirectory(replaced, -1);
      target.#drop(replaced);
    }
    // Removing may have moved the entry within the table.
    entries.remove(entries.find(name));
    this.#countSubdirectory(child, -1);
    targetEntries.add(newName, child);
    target.#countSubdirectory(child, 1);
    if (child instanceof TreeDirectory) {
      child.#parent = target;
    }
    if (!(child instanceof CasFile)) {
      child.renamed();
    }
    this.#markEntriesChanged();
    if (target !== this) {
      target.#markEntriesChanged();
    }
  }

  renamed(): void {
    this.markMetadataChanged();
  }

  /**
   * Puts a private copy that has the file's handle in the place of the only entry, in or below this directory, that is the
   * file; undefined if there are several, though a client may know but one, or if the directories in memory have so many
   * entries that looking at them all would take long. `handleInCas`: as directories of the CAS have it.
   */
  takeOver(file: CasFile, handleInCas: Buffer): WritableFile | undefined {
    let found: { directory: TreeDirectory; position: number } | undefined;
    let left = MOST_SEARCHED;
    const pending: TreeDirectory[] = [this];
    for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
      const entries = directory.#entries.loaded;
      left -= entries?.positionCount ?? 0;
      if (left < 0) {
        return undefined;
      }
      const hasFile = entries?.origin?.hasFile(handleInCas) ?? false;
      for (let position = 0; position < (entries?.positionCount ?? 0); position++) {
        const kept = entries!.childAt(position);
        if (kept instanceof TreeDirectory) {
          pending.push(kept);
          continue;
        }
        if (entries!.nameAt(position) === undefined || (kept === undefined && !hasFile)) {
          continue;
        }
        const child = kept ?? directory.#fileAt(entries!, position);
        if (!(child instanceof CasFile) || !child.handle.equals(file.handle)) {
          continue;
        }
        if (found !== undefined) {
          return undefined;
        }
        found = { directory, position };
      }
    }
    if (found === undefined) {
      return undefined;
    }
    const { directory, position } = found;
    return directory.#makePrivate(directory.#entries.loaded!, position, file, false, file.handle);
  }

  /**
   * Removes the directory with everything in it, fetching nothing and yielding to others every few milliseconds. The
   * caller takes it out of its parent.
   */
  async discard(): Promise<void> {
    const pending: TreeDirectory[] = [this];
    let left = DISCARDED_AT_ONCE;
    for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
      const entries = directory.#entries.loaded;
      directory.#markRemoved();
      if (entries === undefined) {
        continue;
      }
      for (let position = 0; position < entries.positionCount; position++) {
        const child = entries.childAt(position);
        if (child === undefined || child instanceof CasFile) {
          continue;
        }
        if (left-- === 0) {
          await setImmediate();
          left = DISCARDED_AT_ONCE;
        }
        directory.account.quota.releaseNode();
        if (child instanceof TreeDirectory) {
          pending.push(child);
        } else {
          child.dropName();
        }
      }
    }
  }

  #whenLoaded<Result>(then: () => Result): MaybePromise<Result> {
    const loading = this.#entries.load();
    return loading === undefined ? then() : loading.then(then);
  }

  #newDirectory(origin: Digest | undefined, mode: number, owner: Owner, access?: InputAccess): TreeDirectory {
    return new TreeDirectory(this.tree, this.account, this, origin, mode, owner, access);
  }

  #lookup(name: Name): TreeNode | undefined {
    const entries = this.#entries.loaded!;
    const position = entries.find(name);
    if (position < 0) {
      return undefined;
    }
    const child = this.#childAt(entries, position);
    if (!(child instanceof CasFile)) {
      return child;
    }
    this.account.noteKnown(child);
    this.#access?.noteFile(name);
    return this.tree.isWantedPrivate(child, this.account)
      ? this.#makePrivate(entries, position, child, false)
      : child;
  }

  #readDirectory(cookie: Cookie, visit: EntryVisitor): boolean {
    const entries = this.#entries.loaded!;
    const { origin } = entries;
    if (origin !== undefined) {
      this.account.lookAhead.listed(this.#entries.digest!, origin.subdirectories);
    }
    const start = entries.positionAfter(cookie);
    if (start === undefined) {
      throw new FileSystemError(FileSystemStatus.BAD_COOKIE);
    }
    const end = entries.positionCount;
    for (let position = start; position < end; position++) {
      const name = entries.nameAt(position);
      if (name === undefined) {
        continue;
      }
      if (this.#isHidden(entries, position, name)) {
        continue;
      }
      const child = this.#childAt(entries, position);
      if (child instanceof CasFile) {
        this.account.noteKnown(child);
      }
      if (!visit(name, entries.cookieAt(position), child as Node)) {
        return false;
      }
    }
    return true;
  }

  #openForWriting(name: Name, truncate: boolean): RegularFile {
    const entries = this.#entries.loaded!;
    const position = entries.find(name);
    if (position < 0) {
      throw new FileSystemError(FileSystemStatus.NOENT);
    }
    const child = this.#childAt(entries, position);
    if (child instanceof CasFile) {
      if (this.tree.inputsReadOnly) {
        throw new FileSystemError(FileSystemStatus.ACCESS);
      }
      return this.#makePrivate(entries, position, child, truncate);
    }
    if (child instanceof WritableFile) {
      return child;
    }
    throw new FileSystemError(
      child instanceof TreeDirectory ? FileSystemStatus.ISDIR : FileSystemStatus.WRONG_TYPE,
    );
  }

  /** Replaces a CAS file by a private copy, or an empty file, with the same attributes; `taken`: and with this handle. */
  #makePrivate(
    entries: Entries<TreeNode>,
    position: number,
    file: CasFile,
    empty: boolean,
    taken?: Buffer,
  ): WritableFile {
    const { mode, userId, groupId } = file.attributes();
    const base = empty ? undefined : file.digest;
    const time = empty ? undefined : INPUT_TIME;
    const copy = this.#counted(
      () => new WritableFile(this.tree, this.account, base, mode, { userId, groupId }, time, taken),
    );
    entries.replace(position, copy);
    // No name has come or gone, so the modification time stays.
    this.markMetadataChanged();
    this.#markUnlikeCas();
    return copy;
  }

  /** Makes the node as asked, or not at all. */
  #create<Made extends Exclude<TreeNode, CasFile>>(
    name: Name,
    make: () => Made,
    attributes: AttributeChanges,
  ): MaybePromise<Made> {
    const loading = this.#entries.load();
    if (loading !== undefined) {
      return loading.then(() => this.#create(name, make, attributes));
    }
    this.#requireNotRemoved();
    if (this.#entries.loaded!.find(name) >= 0) {
      throw new FileSystemError(FileSystemStatus.EXIST);
    }
    const made = this.#counted(make);
    if (setsMoreThanMode(attributes)) {
      const { mode: _, ...others } = attributes;
      try {
        // Never waits: there is no content yet.
        made.setAttributes(others);
      } catch (error) {
        this.#drop(made);
        throw error;
      }
    }
    this.#entries.loaded!.add(name, made);
    this.#countSubdirectory(made, 1);
    this.#markEntriesChanged();
    return made;
  }

  #link(name: Name, node: TreeLeaf): void {
    this.#requireNotRemoved();
    const entries = this.#entries.loaded!;
    if (entries.find(name) >= 0) {
      throw new FileSystemError(FileSystemStatus.EXIST);
    }
    // A link to an input stays counted when it is removed: nothing distinguishes it from the input's own names.
    this.#counted(() => {
      if (node instanceof Leaf) {
        node.addName();
      }
    });
    entries.add(name, node);
    this.#markEntriesChanged();
  }

  #childAt(entries: Entries<TreeNode>, position: number): TreeNode {
    const child = entries.childAt(position);
    if (child !== undefined) {
      return child;
    }
    const file = this.#fileAt(entries, position);
    if (file !== undefined) {
      return file;
    }
    const origin = entries.origin!;
    const originPosition = entries.originPosition(position);
    const { tree, account } = this;
    const digest = origin.subdirectoryDigest(originPosition);
    const access = this.#access && new InputAccess(origin.names[originPosition], this.#access);
    const made = this.#counted(() =>
      digest === undefined
        ? inputSymlink(tree, account, origin.symlinkTarget(originPosition))
        : this.#newDirectory(digest, DIRECTORY_MODE, account.owner, access),
    );
    entries.materialise(position, made);
    return made;
  }

  /** Of an entry that is still as the CAS directory has it: undefined if it is no file there. */
  #fileAt(entries: Entries<TreeNode>, position: number): CasFile | undefined {
    const origin = entries.origin!;
    const originPosition = entries.originPosition(position);
    return origin.isFile(originPosition) ? this.tree.casFile(origin.fileHandle(originPosition)) : undefined;
  }

  /** Counts one more name if `add` succeeds. */
  #counted<Result>(add: () => Result): Result {
    const { quota } = this.account;
    quota.takeNode();
    try {
      return add();
    } catch (error) {
      quota.releaseNode();
      throw error;
    }
  }

  /** Notes that the node has lost a name. */
  #drop(child: TreeNode): void {
    if (child instanceof CasFile) {
      return;
    }
    this.account.quota.releaseNode();
    if (child instanceof TreeDirectory) {
      child.#dropHidden();
      child.#markRemoved();
    } else {
      child.dropName();
    }
  }

  #countSubdirectory(child: TreeNode, change: 1 | -1): void {
    const attributes = this.attributes();
    if (child instanceof TreeDirectory && attributes.linkCount !== UNKNOWN_LINK_COUNT) {
      attributes.linkCount += change;
    }
  }

  /** Of a directory that seems empty. */
  #dropHidden(): void {
    const entries = this.#entries.loaded!;
    for (let position = 0; entries.count > 0 && position < entries.positionCount; position++) {
      if (entries.nameAt(position) !== undefined) {
        this.#drop(this.#childAt(entries, position));
      }
    }
  }

  #isHidden(entries: Entries<TreeNode>, position: number, name: Name): boolean {
    return this.tree.isHidden(name) && !(this.#childAt(entries, position) instanceof TreeDirectory);
  }

  #markRemoved(): void {
    this.#removed = true;
    this.#entries.abandon();
    this.#parent = undefined;
    this.end();
  }

  #markEntriesChanged(): void {
    this.markModified();
    this.#markUnlikeCas();
  }

  #markUnlikeCas(): void {
    for (
      let directory: Directory | undefined = this;
      directory instanceof TreeDirectory && !directory.#unlikeCas;
      directory = directory.#parent
    ) {
      directory.#unlikeCas = true;
    }
  }

  #requireNotRemoved(): void {
    if (this.#removed) {
      throw new FileSystemError(FileSystemStatus.STALE);
    }
  }

  #requireEmpty(): void {
    const entries = this.#entries.loaded!;
    for (let position = 0; entries.count > 0 && position < entries.positionCount; position++) {
      const name = entries.nameAt(position);
      if (name !== undefined && !this.#isHidden(entries, position, name)) {
        throw new FileSystemError(FileSystemStatus.NOTEMPTY);
      }
    }
  }

  /** Whether `other` is this directory or lies below it. */
  #contains(other: TreeDirectory): boolean {
    for (
      let directory: Directory | undefined = other;
      directory !== undefined;
      directory = directory.parent()
    ) {
      if (directory === this) {
        return true;
      }
    }
    return false;
  }
}

/** Two CAS files with the same content are one inode to the client, whatever their names. */
function isSame(one: TreeNode, other: TreeNode): boolean {
  return (
    one === other || (one instanceof CasFile && other instanceof CasFile && one.handle.equals(other.handle))
  );
}
