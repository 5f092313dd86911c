import {
  type AttributeChanges,
  type Attributes,
  type Cookie,
  type Directory,
  type EntryVisitor,
  FileSystemError,
  FileSystemStatus,
  FileType,
  type MaybePromise,
  type Name,
  type Node,
  type RegularFile,
} from "./file-system.ts";

function refuse(): never {
  throw new FileSystemError(FileSystemStatus.ROFS);
}

/** A directory in which nothing can be changed: every attempt is answered NFS4ERR_ROFS. */
export abstract class ReadOnlyDirectory implements Directory {
  readonly type = FileType.DIRECTORY;
  abstract readonly handle: Uint8Array;

  abstract attributes(): Attributes;
  abstract parent(): Directory | undefined;
  abstract lookup(name: Name): MaybePromise<Node | undefined>;
  abstract readDirectory(cookie: Cookie, visit: EntryVisitor): MaybePromise<boolean>;

  setAttributes(_changes: AttributeChanges): never {
    refuse();
  }

  openForWriting(_name: Name, _file: RegularFile): never {
    refuse();
  }

  createFile(): never {
    refuse();
  }

  createDirectory(): never {
    refuse();
  }

  createSymlink(): never {
    refuse();
  }

  createSpecial(): never {
    refuse();
  }

  link(): never {
    refuse();
  }

  remove(): never {
    refuse();
  }

  rename(): never {
    refuse();
  }
}

/** A file that cannot be changed: every attempt is answered NFS4ERR_ROFS. */
export abstract class ReadOnlyFile implements RegularFile {
  readonly type = FileType.REGULAR;
  readonly immutable = true;
  abstract readonly handle: Uint8Array;

  abstract attributes(): Attributes;
  abstract read(offset: number, count: number): MaybePromise<Uint8Array>;

  redirectWriting(): never {
    refuse();
  }

  setAttributes(_changes: AttributeChanges): never {
    refuse();
  }

  write(_offset: number, _data: Uint8Array): never {
    refuse();
  }

  commit(): void {}

  retain(): void {}

  release(): void {}
}
