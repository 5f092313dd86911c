import {
  type AttributeChanges,
  type Attributes,
  type CloneableFile,
  type Cookie,
  type Credentials,
  type Directory,
  type EntryVisitor,
  type ExtendedAttributes,
  FileSystemError,
  FileSystemStatus,
  FileType,
  type Name,
  type Node,
  type RegularFile,
  type SparseFile,
  type SpecialKind,
  type Symlink,
  type Timestamp,
} from "../file-system.ts";
import { Content } from "./content.ts";
import { Entries } from "./entries.ts";

/** What the nodes need of their file system. */
export interface Owner {
  readonly maximumFileSize: number;
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

abstract class MemoryNodeBase implements ExtendedAttributes {
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
    if (changes.size !== undefined) this.resize(changes.size);
    values.mode = changes.mode ?? values.mode;
    values.userId = changes.userId ?? values.userId;
    values.groupId = changes.groupId ?? values.groupId;
    if (changes.accessTime !== undefined) values.accessTime = pick(changes.accessTime, now);
    if (changes.size !== undefined) values.modifyTime = now;
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

  protected resize(_size: number): void {
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

export class MemoryFile extends MemoryNodeBase implements RegularFile, SparseFile, CloneableFile {
  readonly type = FileType.REGULAR;
  readonly immutable = false;
  readonly delegable = true;
  private readonly content = new Content();
  private users = 0;

  constructor(fileSystem: Owner, owner: Credentials, changes: AttributeChanges) {
    super(fileSystem, owner, changes, 0o644);
    if (changes.size !== undefined && changes.size > 0) this.resize(changes.size);
  }

  read(offset: number, count: number): Uint8Array {
    return this.content.read(offset, count);
  }

  write(offset: number, data: Uint8Array): void {
    if (offset + data.length > this.fileSystem.maximumFileSize)
      throw new FileSystemError(FileSystemStatus.FBIG);
    this.content.write(offset, data);
    this.written();
  }

  private written(): void {
    const now = timeNow();
    this.values.modifyTime = now;
    this.touch(now);
    this.measure();
  }

  commit(): void {}

  seek(offset: number, what: "data" | "hole"): number | undefined {
    const found = this.content.seek(offset, what === "data");
    return what === "data" && found >= this.content.size ? undefined : found;
  }

  allocate(offset: number, length: number): void {
    if (offset + length > this.fileSystem.maximumFileSize) throw new FileSystemError(FileSystemStatus.FBIG);
    this.fileSystem.account(length);
    this.fileSystem.account(-length);
    if (offset + length > this.content.size) this.setAttributes({ size: offset + length });
  }

  deallocate(offset: number, length: number): void {
    this.content.clear(offset, Math.min(offset + length, this.content.size));
    this.written();
  }

  cloneRange(source: RegularFile, sourceOffset: number, offset: number, length: number): number {
    if (!(source instanceof MemoryFile)) throw new FileSystemError(FileSystemStatus.XDEV);
    this.content.cloneRange(source.content, sourceOffset, offset, length);
    this.written();
    return length;
  }

  retain(): void {
    this.users++;
  }

  release(): void {
    this.users--;
    if (this.users === 0 && this.values.linkCount <= 0) this.fileSystem.forget(this);
  }

  protected override get inUse(): boolean {
    return this.users > 0;
  }

  protected override resize(size: number): void {
    if (size > this.fileSystem.maximumFileSize) throw new FileSystemError(FileSystemStatus.FBIG);
    this.content.truncate(size);
    this.measure();
  }

  private measure(): void {
    const used = this.content.spaceUsed;
    this.fileSystem.account(used - this.values.spaceUsed);
    this.values.spaceUsed = used;
    this.values.size = this.content.size;
  }
}

export class MemorySymlink extends MemoryNodeBase implements Symlink {
  readonly type = FileType.SYMLINK;
  readonly target: Uint8Array;

  constructor(fileSystem: Owner, owner: Credentials, target: Uint8Array, changes: AttributeChanges) {
    super(fileSystem, owner, changes, 0o777);
    this.target = target;
    this.values.size = target.length;
  }
}

type DeviceKind = Extract<SpecialKind, { readonly major: number }>;

export class MemoryDevice extends MemoryNodeBase {
  readonly type: typeof FileType.CHARACTER_DEVICE | typeof FileType.BLOCK_DEVICE;
  readonly major: number;
  readonly minor: number;

  constructor(fileSystem: Owner, owner: Credentials, kind: DeviceKind, changes: AttributeChanges) {
    super(fileSystem, owner, changes, 0o644);
    this.type = kind.type;
    this.major = kind.major;
    this.minor = kind.minor;
  }
}

/** A FIFO or a socket. */
export class MemoryPipe extends MemoryNodeBase {
  readonly type: typeof FileType.SOCKET | typeof FileType.FIFO;

  constructor(
    fileSystem: Owner,
    owner: Credentials,
    type: typeof FileType.SOCKET | typeof FileType.FIFO,
    changes: AttributeChanges,
  ) {
    super(fileSystem, owner, changes, 0o644);
    this.type = type;
  }
}

export class MemoryDirectory extends MemoryNodeBase implements Directory {
  readonly type = FileType.DIRECTORY;
  private readonly entries = new Entries<MemoryNode>();
  private above: MemoryDirectory | undefined;

  constructor(
    fileSystem: Owner,
    parent: MemoryDirectory | undefined,
    owner: Credentials,
    changes: AttributeChanges,
  ) {
    super(fileSystem, owner, changes, 0o755);
    this.above = parent;
    this.values.linkCount = 2;
  }

  parent(): Directory | undefined {
    return this.above;
  }

  lookup(name: Name): MemoryNode | undefined {
    return this.entries.get(name);
  }

  readDirectory(cookie: Cookie, visit: EntryVisitor): boolean {
    if (!this.entries.isCookie(cookie)) throw new FileSystemError(FileSystemStatus.BAD_COOKIE);
    return this.entries.visit(cookie, visit);
  }

  openForWriting(_name: Name, file: RegularFile): RegularFile {
    return file;
  }

  createFile(name: Name, owner: Credentials, changes: AttributeChanges): MemoryFile {
    this.checkFree(name);
    return this.add(name, new MemoryFile(this.fileSystem, owner, changes));
  }

  createDirectory(name: Name, owner: Credentials, changes: AttributeChanges): MemoryDirectory {
    this.checkFree(name);
    this.values.linkCount++;
    return this.add(name, new MemoryDirectory(this.fileSystem, this, owner, changes));
  }

  createSymlink(
    name: Name,
    owner: Credentials,
    target: Uint8Array,
    changes: AttributeChanges,
  ): MemorySymlink {
    this.checkFree(name);
    return this.add(name, new MemorySymlink(this.fileSystem, owner, target, changes));
  }

  createSpecial(
    name: Name,
    owner: Credentials,
    kind: SpecialKind,
    changes: AttributeChanges,
  ): MemoryDevice | MemoryPipe {
    this.checkFree(name);
    if ("major" in kind) return this.add(name, new MemoryDevice(this.fileSystem, owner, kind, changes));
    return this.add(name, new MemoryPipe(this.fileSystem, owner, kind.type, changes));
  }

  link(name: Name, node: Node): void {
    this.checkFree(name);
    if (node instanceof MemoryNodeBase) node.addLinks(1);
    this.add(name, node as MemoryNode);
  }

  remove(name: Name): void {
    const node = this.entries.get(name);
    if (node === undefined) throw new FileSystemError(FileSystemStatus.NOENT);
    if (node instanceof MemoryDirectory && node.entries.size > 0) {
      throw new FileSystemError(FileSystemStatus.NOTEMPTY);
    }
    this.entries.delete(name);
    this.dropped(node);
    this.changed();
  }

  rename(name: Name, target: Directory, newName: Name): void {
    const node = this.entries.get(name);
    if (node === undefined) throw new FileSystemError(FileSystemStatus.NOENT);
    if (!(target instanceof MemoryDirectory)) throw new FileSystemError(FileSystemStatus.XDEV);
    if (target.above === undefined && target.values.linkCount === 0) {
      throw new FileSystemError(FileSystemStatus.NOENT);
    }
    const replaced = target.entries.get(newName);
    if (replaced === node) return;
    if (node instanceof MemoryDirectory && target.isWithin(node)) {
      throw new FileSystemError(FileSystemStatus.INVAL);
    }
    if (replaced !== undefined) {
      if (node instanceof MemoryDirectory !== replaced instanceof MemoryDirectory) {
        throw new FileSystemError(FileSystemStatus.EXIST);
      }
      if (replaced instanceof MemoryDirectory && replaced.entries.size > 0) {
        throw new FileSystemError(FileSystemStatus.EXIST);
      }
      target.dropped(replaced);
    }
    this.entries.delete(name);
    target.entries.set(newName, node);
    if (node instanceof MemoryDirectory && target !== this) {
      node.above = target;
      this.values.linkCount--;
      target.values.linkCount++;
    }
    node.addLinks(0);
    this.changed();
    if (target !== this) target.changed();
  }

  /** Takes the removed node's link, and those between it and this directory. */
  private dropped(node: MemoryNode): void {
    if (node instanceof MemoryDirectory) {
      this.values.linkCount--;
      node.above = undefined;
      node.addLinks(-2);
    } else {
      node.addLinks(-1);
    }
  }

  private isWithin(directory: MemoryDirectory): boolean {
    for (let above: MemoryDirectory | undefined = this; above !== undefined; above = above.above) {
      if (above === directory) return true;
    }
    return false;
  }

  private checkFree(name: Name): void {
    if (this.values.linkCount === 0) throw new FileSystemError(FileSystemStatus.NOENT);
    if (this.entries.get(name) !== undefined) throw new FileSystemError(FileSystemStatus.EXIST);
  }

  private add<T extends MemoryNode>(name: Name, node: T): T {
    this.entries.set(name, node);
    this.changed();
    return node;
  }

  private changed(): void {
    const now = timeNow();
    this.values.modifyTime = now;
    this.values.size = this.entries.size * 32;
    this.touch(now);
  }
}

export type MemoryNode = MemoryFile | MemoryDirectory | MemorySymlink | MemoryDevice | MemoryPipe;
