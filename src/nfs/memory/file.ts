import { MAXIMUM_OFFSET, plus, smaller } from "../compound/offset.ts";
import {
  type AttributeChanges,
  type CloneableFile,
  type Credentials,
  type DelegableFile,
  FileSystemError,
  FileSystemStatus,
  FileType,
  type HugeFile,
  type Offset,
  type RegularFile,
  type SparseFile,
} from "../file-system.ts";
import { Content } from "./content.ts";
import { MemoryNodeBase, type Owner, timeNow } from "./node.ts";

export class MemoryFile
  extends MemoryNodeBase
  implements RegularFile, HugeFile, SparseFile<Offset>, CloneableFile<Offset>, DelegableFile
{
  readonly type = FileType.REGULAR;
  readonly immutable = false;
  readonly huge = true;
  readonly delegable = true;
  readonly #content = new Content((bytes) => this.fileSystem.account(bytes));
  #users = 0;

  constructor(fileSystem: Owner, owner: Credentials, changes: AttributeChanges) {
    super(fileSystem, owner, changes, 0o644);
    const size = changes.hugeSize ?? changes.size;
    if (size !== undefined && size > 0) {
      this.resize(size);
    }
  }

  read(offset: Offset, count: number): Uint8Array {
    return this.#content.read(offset, count);
  }

  write(offset: Offset, data: Uint8Array): void {
    checkEnd(plus(offset, data.length));
    try {
      this.#content.write(offset, data);
    } finally {
      this.#written();
    }
  }

  commit(): void {}

  seek(offset: Offset, what: "data" | "hole"): Offset | undefined {
    const found = this.#content.seek(offset, what === "data");
    return what === "data" && found >= this.#content.size ? undefined : found;
  }

  allocate(offset: Offset, length: Offset): void {
    const end = plus(offset, length);
    checkEnd(end);
    this.fileSystem.account(Number(length));
    this.fileSystem.account(-Number(length));
    if (end <= this.#content.size) {
      return;
    }
    this.resize(end);
    this.#written();
  }

  deallocate(offset: Offset, length: Offset): void {
    this.#content.clear(offset, smaller(plus(offset, length), this.#content.size));
    this.#written();
  }

  cloneRange(source: RegularFile, sourceOffset: Offset, offset: Offset, length: Offset): Offset {
    if (!(source instanceof MemoryFile)) {
      throw new FileSystemError(FileSystemStatus.XDEV);
    }
    checkEnd(plus(offset, length));
    try {
      this.#content.cloneRange(source.#content, sourceOffset, offset, length);
    } finally {
      this.#written();
    }
    return length;
  }

  retain(): void {
    this.#users++;
  }

  release(): void {
    this.#users--;
    if (this.#users === 0 && this.values.linkCount <= 0) {
      this.fileSystem.forget(this);
    }
  }

  protected override get inUse(): boolean {
    return this.#users > 0;
  }

  protected override resize(size: Offset): void {
    checkEnd(size);
    this.#content.truncate(size);
    this.#measure();
  }

  #written(): void {
    const now = timeNow();
    this.values.modifyTime = now;
    this.touch(now);
    this.#measure();
  }

  #measure(): void {
    const { size, spaceUsed } = this.#content;
    this.values.spaceUsed = spaceUsed;
    this.values.size = Number(size);
    this.values.hugeSize = typeof size === "bigint" ? size : undefined;
  }
}

function checkEnd(end: Offset): void {
  if (typeof end === "bigint" && end > MAXIMUM_OFFSET) {
    throw new FileSystemError(FileSystemStatus.FBIG);
  }
}
