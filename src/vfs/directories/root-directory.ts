import {
  type Cookie,
  type Directory,
  type EntryVisitor,
  FileSystemError,
  FileSystemStatus,
  FileType,
  type Name,
} from "../../nfs/file-system.ts";
import { NumberedNode, type TreeContext } from "../node.ts";
import type { TreeDirectory } from "./directory.ts";
import { Entries } from "./entries.ts";
import { RememberedNames } from "./remembered-names.ts";

/** Holds the build directories. Only the worker changes it. */
export class RootDirectory extends NumberedNode implements Directory {
  readonly type = FileType.DIRECTORY;
  /** Names of build directories that clients may remember: as there once, or as not there. */
  readonly rememberedNames = new RememberedNames();
  readonly #entries = new Entries<TreeDirectory>(undefined);

  constructor(tree: TreeContext) {
    super(tree, 0o755, { userId: 0, groupId: 0 }, undefined, undefined);
  }

  /** The name must be new. */
  add(name: Name, directory: TreeDirectory): void {
    this.#entries.add(name, directory);
    this.markModified();
  }

  delete(name: Name): void {
    this.#entries.remove(this.#entries.find(name));
    this.markModified();
  }

  parent(): undefined {
    return undefined;
  }

  /** For the worker itself, which remembers nothing. */
  has(name: Name): boolean {
    return this.#entries.find(name) >= 0;
  }

  lookup(name: Name): TreeDirectory | undefined {
    this.rememberedNames.note(name);
    const position = this.#entries.find(name);
    return position < 0 ? undefined : this.#entries.childAt(position);
  }

  readDirectory(cookie: Cookie, visit: EntryVisitor): boolean {
    const start = this.#entries.positionAfter(cookie);
    if (start === undefined) {
      throw new FileSystemError(FileSystemStatus.BAD_COOKIE);
    }
    for (let position = start; position < this.#entries.positionCount; position++) {
      const name = this.#entries.nameAt(position);
      if (name !== undefined) {
        const directory = this.#entries.childAt(position)!;
        this.rememberedNames.note(name);
        if (!visit(name, this.#entries.cookieAt(position), directory)) {
          return false;
        }
      }
    }
    return true;
  }

  setAttributes(): never {
    return refuse();
  }

  openForWriting(): never {
    return refuse();
  }

  createFile(): never {
    return refuse();
  }

  createDirectory(): never {
    return refuse();
  }

  createSymlink(): never {
    return refuse();
  }

  createSpecial(): never {
    return refuse();
  }

  link(): never {
    return refuse();
  }

  remove(): never {
    return refuse();
  }

  rename(): never {
    return refuse();
  }
}

function refuse(): never {
  throw new FileSystemError(FileSystemStatus.PERM);
}
