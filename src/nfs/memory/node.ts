import {
  type AttributeChanges,
  type Attributes,
  type Credentials,
  type ExtendedAttributes,
  FileSystemError,
  FileSystemStatus,
  type Name,
  type Offset,
  type Timestamp,
} from "../file-system.ts";
import type { MemoryDirectory } from "./directory.ts";
import type { MemoryFile } from "./file.ts";
import type { MemoryDevice, MemoryPipe, MemorySymlink } from "./special.ts";

export type MemoryNode = MemoryFile | MemoryDirectory | MemorySymlink | MemoryDevice | MemoryPipe;

/** What the nodes need of their file system. */
export interface Owner {
  /** Gives the node a handle and a fileId. */
  register(node: MemoryNode): { handle: Uint8Array; fileId: number };
  /** The node has neither names nor users any more. */
  forget(node: MemoryNode): void;
  /** Bytes of memory more (or less, when negative) in use; throws NOSPC. */
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
  private extended: Map<Name, Uint8Array> | undefined;

  constructor(fileSystem: Owner, owner: Credentials, changes: AttributeChanges, mode: number) {
    const now = timeNow();
    this.fileSystem = fileSystem;
    const { handle, fileId } = fileSystem.register(this as never);
    this.handle = handle;
    this.values = {
      mode: changes.mode ?? mode,
      linkCount: 1,
      userId: changes.userId ?? owner.userId,
      groupId: changes.groupId ?? owner.groupId,
      size: 0,
      hugeSize: undefined,
      spaceUsed: 0,
      fileId,
      change: 1,
      accessTime: pick(changes.accessTime, now),
      modifyTime: pick(changes.modifyTime, now),
      metadataTime: now,
    };
  }

  attributes(): Attributes {
    return this.values;
  }

  setAttributes(changes: AttributeChanges): void {
    const { values } = this;
    const now = timeNow();
    const size = changes.hugeSize ?? changes.size;
    if (size !== undefined) this.resize(size);
    values.mode = changes.mode ?? values.mode;
    values.userId = changes.userId ?? values.userId;
    values.groupId = changes.groupId ?? values.groupId;
    if (changes.accessTime !== undefined) values.accessTime = pick(changes.accessTime, now);
    if (size !== undefined) values.modifyTime = now;
    if (changes.modifyTime !== undefined) values.modifyTime = pick(changes.modifyTime, now);
    if (changes.metadataTime === undefined) this.touch(now);
    else {
      if (changes.modifyTime !== undefined) values.change++;
      values.metadataTime = changes.metadataTime;
    }
  }

  getExtendedAttribute(name: Name): Uint8Array | undefined {
    return this.extended?.get(name);
  }

  setExtendedAttribute(name: Name, value: Uint8Array, how: "create" | "replace" | "either"): void {
    this.extended ??= new Map();
    const exists = this.extended.has(name);
    if (how === "create" && exists) throw new FileSystemError(FileSystemStatus.EXIST);
    if (how === "replace" && !exists) throw new FileSystemError(FileSystemStatus.NOXATTR);
    this.extended.set(name, value);
    this.touch(timeNow());
  }

  removeExtendedAttribute(name: Name): void {
    if (this.extended?.delete(name) !== true) throw new FileSystemError(FileSystemStatus.NOXATTR);
    this.touch(timeNow());
  }

  listExtendedAttributes(): readonly Name[] {
    return this.extended === undefined ? [] : [...this.extended.keys()];
  }

  /** A name more, or one less. */
  addLinks(count: number): void {
    this.values.linkCount += count;
    this.touch(timeNow());
    if (this.values.linkCount <= 0 && !this.inUse) this.fileSystem.forget(this as never);
  }

  protected get inUse(): boolean {
    return false;
  }

  protected resize(_size: Offset): void {
    throw new FileSystemError(FileSystemStatus.INVAL);
  }

  protected touch(now: Timestamp): void {
    this.values.change++;
    this.values.metadataTime = now;
  }
}

function pick(wanted: Timestamp | "now" | undefined, now: Timestamp): Timestamp {
  return wanted === undefined || wanted === "now" ? now : wanted;
}
