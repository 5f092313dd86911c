import {
  type AttributeChanges,
  type Attributes,
  type Credentials,
  type ExtendedAttributes,
  FileSystemError,
  FileSystemStatus,
  type MaybePromise,
  type Name,
  type Timestamp,
} from "../file-system.ts";

/** Bytes accounted for a node with its first name, and for each further name or extended attribute. */
const NODE_BYTES = 1024;
const NAME_BYTES = 512;
const EXTENDED_BYTES = 128;
/** Linux's XATTR_LIST_MAX: no client could list more. It counts the "user." and the NUL added to each name. */
const MAXIMUM_LIST = 64 * 1024;
const LISTED_BYTES = 6;

/** What the nodes need of their file system. */
export interface Owner {
  /** Accounts `overhead` bytes for the node, and gives it a handle and a fileId; throws NOSPC. */
  register(node: MemoryNodeBase, overhead: number): { handle: Uint8Array; fileId: number };
  /** The node no longer has names or users. */
  forget(node: MemoryNodeBase): void;
  /** `bytes` more (or fewer, if negative) of memory are in use; throws NOSPC. */
  account(bytes: number): void;
}

/** The time of day. */
export function timeNow(): Timestamp {
  const milliseconds = performance.timeOrigin + performance.now();
  const seconds = Math.floor(milliseconds / 1000);
  return { seconds, nanoseconds: Math.floor((milliseconds - seconds * 1000) * 1e6) };
}

/** What all nodes have in common. */
export abstract class MemoryNodeBase implements ExtendedAttributes {
  readonly handle: Uint8Array;
  protected readonly fileSystem: Owner;
  protected readonly values: Attributes;
  /** Bytes that are accounted for the node besides its content. */
  #overhead: number;
  #extended: Map<Name, Uint8Array> | undefined;
  #listLength = 0;

  /** `bytes`: accounted for it beyond what other nodes cost. Throws NOSPC. */
  constructor(fileSystem: Owner, owner: Credentials, changes: AttributeChanges, mode: number, bytes = 0) {
    const now = timeNow();
    this.fileSystem = fileSystem;
    this.#overhead = NODE_BYTES + bytes;
    const { handle, fileId } = fileSystem.register(this, this.#overhead);
    this.handle = handle;
    this.values = {
      mode: changes.mode ?? mode,
      linkCount: 1,
      userId: changes.userId ?? owner.userId,
      groupId: changes.groupId ?? owner.groupId,
      size: 0,
      spaceUsed: 0,
      fileId,
      change: 1,
      accessTime: pick(changes.accessTime, now),
      modifyTime: pick(changes.modifyTime, now),
      metadataTime: now,
    };
  }

  /** Bytes that are accounted for the node. */
  get accounted(): number {
    return this.#overhead;
  }

  attributes(): Attributes {
    return this.values;
  }

  setAttributes(changes: AttributeChanges): MaybePromise<void> {
    const { values } = this;
    const now = timeNow();
    const { size } = changes;
    if (size !== undefined) {
      this.resize(size);
    }
    values.mode = changes.mode ?? values.mode;
    values.userId = changes.userId ?? values.userId;
    values.groupId = changes.groupId ?? values.groupId;
    if (changes.accessTime !== undefined) {
      values.accessTime = pick(changes.accessTime, now);
    }
    if (size !== undefined) {
      values.modifyTime = now;
    }
    if (changes.modifyTime !== undefined) {
      values.modifyTime = pick(changes.modifyTime, now);
    }
    if (changes.metadataTime === undefined) {
      this.touch(now);
    } else {
      if (changes.modifyTime !== undefined) {
        values.change++;
      }
      values.metadataTime = changes.metadataTime;
    }
  }

  getExtendedAttribute(name: Name): Uint8Array | undefined {
    return this.#extended?.get(name);
  }

  setExtendedAttribute(name: Name, value: Uint8Array, how: "create" | "replace" | "either"): void {
    this.#extended ??= new Map();
    const before = this.#extended.get(name);
    if (how === "create" && before !== undefined) {
      throw new FileSystemError(FileSystemStatus.EXIST);
    }
    if (how === "replace" && before === undefined) {
      throw new FileSystemError(FileSystemStatus.NOXATTR);
    }
    const listed = before === undefined ? name.length + LISTED_BYTES : 0;
    if (this.#listLength + listed > MAXIMUM_LIST) {
      throw new FileSystemError(FileSystemStatus.NOSPC);
    }
    this.#take(extendedBytes(name, value) - extendedBytes(name, before));
    this.#listLength += listed;
    this.#extended.set(name, value);
    this.touch(timeNow());
  }

  removeExtendedAttribute(name: Name): void {
    const value = this.#extended?.get(name);
    if (value === undefined) {
      throw new FileSystemError(FileSystemStatus.NOXATTR);
    }
    this.#extended!.delete(name);
    this.#listLength -= name.length + LISTED_BYTES;
    this.#take(-extendedBytes(name, value));
    this.touch(timeNow());
  }

  listExtendedAttributes(): readonly Name[] {
    return this.#extended === undefined ? [] : [...this.#extended.keys()];
  }

  /** One name more or one fewer. Throws NOSPC. */
  addLinks(count: number): void {
    const left = this.values.linkCount + count;
    // The first name is the node's own.
    if (left > 0 && count !== 0) {
      this.#take(count * NAME_BYTES);
    }
    this.values.linkCount = left;
    this.touch(timeNow());
    if (left <= 0 && !this.inUse) {
      this.fileSystem.forget(this);
    }
  }

  #take(bytes: number): void {
    this.fileSystem.account(bytes);
    this.#overhead += bytes;
  }

  protected get inUse(): boolean {
    return false;
  }

  protected resize(_size: number): void {
    throw new FileSystemError(FileSystemStatus.INVAL);
  }

  protected touch(now: Timestamp): void {
    this.values.change++;
    this.values.metadataTime = now;
  }
}

function extendedBytes(name: Name, value: Uint8Array | undefined): number {
  return value === undefined ? 0 : EXTENDED_BYTES + name.length + value.length;
}

function pick(wanted: Timestamp | "now" | undefined, now: Timestamp): Timestamp {
  return wanted === undefined || wanted === "now" ? now : wanted;
}
