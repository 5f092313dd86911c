import {
  type AttributeChanges,
  type Cookie,
  type Credentials,
  type Directory,
  type EntryVisitor,
  FileSystemError,
  FileSystemStatus,
  FileType,
  type Name,
  type Node,
  type RegularFile,
  type SpecialKind,
} from "../file-system.ts";
import { Entries } from "./entries.ts";
import { MemoryFile } from "./file.ts";
import { MemoryNodeBase, type Owner, timeNow } from "./node.ts";
import { MemoryDevice, MemoryPipe, MemorySymlink } from "./special.ts";

export type MemoryNode = MemoryFile | MemoryDirectory | MemorySymlink | MemoryDevice | MemoryPipe;

export class MemoryDirectory extends MemoryNodeBase implements Directory {
  readonly type = FileType.DIRECTORY;
  readonly #entries = new Entries<MemoryNode>();
  #above: MemoryDirectory | undefined;

  constructor(
    fileSystem: Owner,
    parent: MemoryDirectory | undefined,
    owner: Credentials,
    changes: AttributeChanges,
  ) {
    super(fileSystem, owner, changes, 0o755);
    this.#above = parent;
    this.values.linkCount = 2;
  }

  parent(): Directory | undefined {
    return this.#above;
  }

  lookup(name: Name): MemoryNode | undefined {
    return this.#entries.get(name);
  }

  readDirectory(cookie: Cookie, visit: EntryVisitor): boolean {
    if (!this.#entries.isCookie(cookie)) {
      throw new FileSystemError(FileSystemStatus.BAD_COOKIE);
    }
    return this.#entries.visit(cookie, visit);
  }

  openForWriting(_name: Name, file: RegularFile): RegularFile {
    return file;
  }

  createFile(name: Name, owner: Credentials, changes: AttributeChanges): MemoryFile {
    this.#checkFree(name);
    return this.#add(name, new MemoryFile(this.fileSystem, owner, changes));
  }

  createDirectory(name: Name, owner: Credentials, changes: AttributeChanges): MemoryDirectory {
    this.#checkFree(name);
    const directory = new MemoryDirectory(this.fileSystem, this, owner, changes);
    this.values.linkCount++;
    return this.#add(name, directory);
  }

  createSymlink(
    name: Name,
    owner: Credentials,
    target: Uint8Array,
    changes: AttributeChanges,
  ): MemorySymlink {
    this.#checkFree(name);
    return this.#add(name, new MemorySymlink(this.fileSystem, owner, target, changes));
  }

  createSpecial(
    name: Name,
    owner: Credentials,
    kind: SpecialKind,
    changes: AttributeChanges,
  ): MemoryDevice | MemoryPipe {
    this.#checkFree(name);
    if ("major" in kind) {
      return this.#add(name, new MemoryDevice(this.fileSystem, owner, kind, changes));
    }
    return this.#add(name, new MemoryPipe(this.fileSystem, owner, kind.type, changes));
  }

  link(name: Name, node: Node): void {
    this.#checkFree(name);
    if (node instanceof MemoryNodeBase) {
      node.addLinks(1);
    }
    this.#add(name, node as MemoryNode);
  }

  remove(name: Name): void {
    const node = this.#entries.get(name);
    if (node === undefined) {
      throw new FileSystemError(FileSystemStatus.NOENT);
    }
    if (node instanceof MemoryDirectory && node.#entries.size > 0) {
      throw new FileSystemError(FileSystemStatus.NOTEMPTY);
    }
    this.#entries.delete(name);
    this.#dropped(node);
    this.#changed();
  }

  rename(name: Name, target: Directory, newName: Name): void {
    const node = this.#entries.get(name);
    if (node === undefined) {
      throw new FileSystemError(FileSystemStatus.NOENT);
    }
    if (!(target instanceof MemoryDirectory)) {
      throw new FileSystemError(FileSystemStatus.XDEV);
    }
    if (target.#above === undefined && target.values.linkCount === 0) {
      throw new FileSystemError(FileSystemStatus.NOENT);
    }
    const replaced = target.#entries.get(newName);
    if (replaced === node) {
      return;
    }
    if (node instanceof MemoryDirectory && target.#isWithin(node)) {
      throw new FileSystemError(FileSystemStatus.INVAL);
    }
    if (replaced !== undefined) {
      if (node instanceof MemoryDirectory !== replaced instanceof MemoryDirectory) {
        throw new FileSystemError(FileSystemStatus.EXIST);
      }
      if (replaced instanceof MemoryDirectory && replaced.#entries.size > 0) {
        throw new FileSystemError(FileSystemStatus.EXIST);
      }
      target.#dropped(replaced);
    }
    this.#entries.delete(name);
    target.#entries.set(newName, node);
    if (node instanceof MemoryDirectory && target !== this) {
      node.#above = target;
      this.values.linkCount--;
      target.values.linkCount++;
    }
    node.addLinks(0);
    this.#changed();
    if (target !== this) {
      target.#changed();
    }
  }

  /** Drops the removed node's link, and the links between it and this directory. */
  #dropped(node: MemoryNode): void {
    if (node instanceof MemoryDirectory) {
      this.values.linkCount--;
      node.#above = undefined;
      node.addLinks(-2);
    } else {
      node.addLinks(-1);
    }
  }

  #isWithin(directory: MemoryDirectory): boolean {
    for (let above: MemoryDirectory | undefined = this; above !== undefined; above = above.#above) {
      if (above === directory) {
        return true;
      }
    }
    return false;
  }

  #checkFree(name: Name): void {
    if (this.values.linkCount === 0) {
      throw new FileSystemError(FileSystemStatus.NOENT);
    }
    if (this.#entries.get(name) !== undefined) {
      throw new FileSystemError(FileSystemStatus.EXIST);
    }
  }

  #add<T extends MemoryNode>(name: Name, node: T): T {
    this.#entries.set(name, node);
    this.#changed();
    return node;
  }

  #changed(): void {
    const now = timeNow();
    this.values.modifyTime = now;
    this.values.size = this.#entries.size * 32;
    this.touch(now);
  }
}
