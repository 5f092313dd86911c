import type { InputDirectory, InputSource } from "../cas/input-source.ts";
import {
  type AttributeChanges,
  type Attributes,
  type ExtendedAttributes,
  FileSystemError,
  FileSystemStatus,
  type Name,
  type Timestamp,
} from "../nfs/file-system.ts";
import type { CasFile } from "./cas-file.ts";
import type { Clock } from "./clock.ts";
import type { ContentAccount, ContentPlaces } from "./content/content-places.ts";
import type { CasDirectory } from "./directories/cas-directory.ts";
import { casFileId } from "./handles.ts";
import type { Owner } from "./owner.ts";
import type { Quota } from "./quota.ts";

const MAXIMUM_EXTENDED_ATTRIBUTES_BYTES = 64 * 1024;

/** What nodes need of their tree. */
export interface TreeContext {
  readonly clock: Clock;
  readonly source: InputSource;
  readonly places: ContentPlaces;
  readonly inputsReadOnly: boolean;
  readonly shuffleDirectoryListings: boolean;
  /** Whether a directory seems not to have this entry, unless that is a directory, to those who list or remove it. */
  isHidden(name: Name): boolean;
  /** Gives the node its number; it can be resolved until {@link unregister}. */
  register(node: NumberedNode): number;
  unregister(node: NumberedNode): void;
  numberedHandle(id: number): Buffer;
  casDirectory(directory: InputDirectory): CasDirectory;
  /** The file of a handle inside a CAS directory. */
  casFile(handle: Buffer): CasFile;
  /** Whether a lookup by this action should answer with a private copy of the file. */
  isWantedPrivate(file: CasFile, action: ContentAccount): boolean;
}

/** A node that the tree keeps, with attributes of its own and a number in its handle. */
export abstract class NumberedNode implements ExtendedAttributes {
  readonly tree: TreeContext;
  readonly id: number;
  readonly handle: Buffer;
  readonly #attributes: Attributes;
  readonly #quota: Quota | undefined;
  #extendedAttributes: Map<Name, Uint8Array> | undefined;
  #extendedAttributesBytes = 0;
  #ended = false;

  /**
   * `time` undefined means now; `quota` is charged for extended attributes. `taken`: the handle of the CAS file whose place
   * the node takes; undefined for one of its own.
   */
  constructor(
    tree: TreeContext,
    mode: number,
    owner: Owner,
    time: Timestamp | undefined,
    quota: Quota | undefined,
    taken?: Buffer,
  ) {
    this.tree = tree;
    this.#quota = quota;
    this.id = tree.register(this);
    this.handle = taken ?? tree.numberedHandle(this.id);
    const now = time ?? tree.clock.now();
    this.#attributes = {
      mode,
      linkCount: 1,
      userId: owner.userId,
      groupId: owner.groupId,
      size: 0,
      spaceUsed: 0,
      fileId: taken === undefined ? this.id : casFileId(taken),
      change: 1,
      accessTime: now,
      modifyTime: now,
      metadataTime: now,
    };
  }

  attributes(): Attributes {
    return this.#attributes;
  }

  /** Applies everything but the size. */
  protected applyChanges(changes: AttributeChanges): void {
    const attributes = this.#attributes;
    const now = this.tree.clock.now();
    if (changes.userId !== undefined) {
      attributes.userId = changes.userId;
    }
    if (changes.groupId !== undefined) {
      attributes.groupId = changes.groupId;
    }
    if (changes.mode !== undefined) {
      attributes.mode = changes.mode & 0o7777;
    }
    if (changes.accessTime !== undefined) {
      attributes.accessTime = changes.accessTime === "now" ? now : { ...changes.accessTime };
    }
    if (changes.modifyTime !== undefined) {
      attributes.modifyTime = changes.modifyTime === "now" ? now : { ...changes.modifyTime };
    }
    attributes.metadataTime = now;
    attributes.change++;
  }

  /** Notes that data or entries have changed. */
  protected markModified(): void {
    const attributes = this.#attributes;
    attributes.modifyTime = this.tree.clock.now();
    attributes.metadataTime = attributes.modifyTime;
    attributes.change++;
  }

  /** Notes that metadata has changed. */
  protected markMetadataChanged(): void {
    this.#attributes.metadataTime = this.tree.clock.now();
    this.#attributes.change++;
  }

  /** The node is gone: its handle becomes stale, and its charges are returned. */
  protected end(): void {
    if (this.#ended) {
      return;
    }
    this.#ended = true;
    this.tree.unregister(this);
    this.#quota?.resize(-this.#extendedAttributesBytes);
  }

  getExtendedAttribute(name: Name): Uint8Array | undefined {
    return this.#extendedAttributes?.get(name);
  }

  /**
   * The names and values of a node take at most 64 KiB together: XATTR2BIG for one that can never fit, else NOSPC.
   * DQUOT if the quota has no room for them.
   */
  setExtendedAttribute(name: Name, value: Uint8Array, how: "create" | "replace" | "either"): void {
    if (this.#ended) {
      throw new FileSystemError(FileSystemStatus.STALE);
    }
    this.#extendedAttributes ??= new Map();
    const all = this.#extendedAttributes;
    const old = all.get(name);
    if (how === "create" && old !== undefined) {
      throw new FileSystemError(FileSystemStatus.EXIST);
    }
    if (how === "replace" && old === undefined) {
      throw new FileSystemError(FileSystemStatus.NOXATTR);
    }
    const bytes = name.length + value.length;
    if (bytes > MAXIMUM_EXTENDED_ATTRIBUTES_BYTES) {
      throw new FileSystemError(FileSystemStatus.XATTR2BIG);
    }
    const more = bytes - (old === undefined ? 0 : name.length + old.length);
    if (this.#extendedAttributesBytes + more > MAXIMUM_EXTENDED_ATTRIBUTES_BYTES) {
      throw new FileSystemError(FileSystemStatus.NOSPC);
    }
    this.#quota?.resize(more);
    this.#extendedAttributesBytes += more;
    all.set(name, Uint8Array.from(value));
    this.markMetadataChanged();
  }

  removeExtendedAttribute(name: Name): void {
    const old = this.#extendedAttributes?.get(name);
    if (old === undefined || this.#ended) {
      throw new FileSystemError(FileSystemStatus.NOXATTR);
    }
    this.#extendedAttributes?.delete(name);
    const bytes = name.length + old.length;
    this.#quota?.resize(-bytes);
    this.#extendedAttributesBytes -= bytes;
    this.markMetadataChanged();
  }

  listExtendedAttributes(): readonly Name[] {
    return this.#extendedAttributes === undefined ? [] : [...this.#extendedAttributes.keys()];
  }
}

/** A numbered node that can have several names. It exists until the last name is gone. */
export abstract class Leaf extends NumberedNode {
  /** That of the build directory in which all its names are. */
  readonly account: ContentAccount;

  constructor(
    tree: TreeContext,
    account: ContentAccount,
    mode: number,
    owner: Owner,
    time: Timestamp | undefined,
    taken?: Buffer,
  ) {
    super(tree, mode, owner, time, account.quota, taken);
    this.account = account;
  }

  /** Throws STALE if the last name is already gone. */
  addName(): void {
    if (this.attributes().linkCount === 0) {
      throw new FileSystemError(FileSystemStatus.STALE);
    }
    this.attributes().linkCount++;
    this.markMetadataChanged();
  }

  dropName(): void {
    this.attributes().linkCount--;
    this.markMetadataChanged();
    if (this.attributes().linkCount === 0) {
      this.nameless();
    }
  }

  /** One of the node's names has been replaced by another. */
  renamed(): void {
    this.markMetadataChanged();
  }

  protected nameless(): void {
    this.end();
  }
}

/** Throws INVAL if the changes set a size, for nodes that have none. */
export function refuseSize(changes: AttributeChanges): void {
  if (changes.size !== undefined) {
    throw new FileSystemError(FileSystemStatus.INVAL);
  }
}
