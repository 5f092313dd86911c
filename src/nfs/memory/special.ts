import {
  type AttributeChanges,
  type Credentials,
  FileType,
  type SpecialKind,
  type Symlink,
} from "../file-system.ts";
import { MemoryNodeBase, type Owner } from "./node.ts";

export class MemorySymlink extends MemoryNodeBase implements Symlink {
  readonly type = FileType.SYMLINK;
  readonly target: Uint8Array;

  constructor(fileSystem: Owner, owner: Credentials, target: Uint8Array, changes: AttributeChanges) {
    super(fileSystem, owner, changes, 0o777, target.length);
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
