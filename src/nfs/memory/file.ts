import {
  type AttributeChanges,
  type CloneableFile,
  type Credentials,
  type DelegableFile,
  FileSystemError,
  FileSystemStatus,
  FileType,
  type RegularFile,
  type SparseFile,
} from "../file-system.ts";
import { Content } from "./content.ts";
import { MemoryNodeBase, type Owner, timeNow } from "./node.ts";

export class MemoryFile
  extends MemoryNodeBase
  implements RegularFile, SparseFile, CloneableFile, DelegableFile
{
  readonly type = FileType.REGULAR;
  readonly immutable = false;
  readonly delegable = true;
  readonly #content = new Content((bytes) => this.fileSystem.account(bytes));
  #users = 0;

  constructor(fileSystem: Owner, owner: Credentials, changes: AttributeChanges) {
    super(fileSystem, owner, changes, 0o644);
    const { size } = changes;
    if (size !== undefined && size > 0) {
      this.resize(size);
    }
  }

  read(offset: number, count: number): Uint8Array {
    return this.#content.read(offset, count);
  }

  write(offset: number, data: Uint8Array): void {
    try {
      this.#content.write(offset, data);
    } finally {
      this.#written();
    }
  }

  commit(): void {}

  seek(offset: number, what: "data" | "hole"): number | undefined {
    const found = this.#content.seek(offset, what === "data");
    return what === "data" && found >= this.#content.size ? undefined : found;
  }

  allocate(offset: number, length: number): void {
    this.#content.reserve(offset, offset + length);
    this.#written();
  }

  deallocate(offset: number, length: number): void {
    this.#content.clear(offset, Math.min(offset + length, this.#content.size));
    this.#written();
  }

  cloneRange(source: RegularFile, sourceOffset: number, offset: number, length: number): number {
    if (!(source instanceof MemoryFile)) {
      throw new FileSystemError(FileSystemStatus.XDEV);
    }
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

  override get accounted(): number {
    return super.accounted + this.#content.memoryUsed;
  }

  protected override get inUse(): boolean {
    return this.#users > 0;
  }

  protected override resize(size: number): void {
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
    this.values.size = size;
  }
}
