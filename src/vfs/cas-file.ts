import {
  type AttributeChanges,
  type Attributes,
  type ExtendedAttributes,
  FileSystemError,
  FileSystemStatus,
  FileType,
  type MaybePromise,
  type Name,
  type RegularFile,
  type SparseFile,
} from "../nfs/file-system.ts";
import type { Digest } from "../reapi/digest.ts";
import { INPUT_TIME } from "./clock.ts";
import { blockEnd } from "./content/blocks.ts";
import { casFileId, casFileIsExecutable, casFileSize } from "./handles.ts";
import { ROOT } from "./owner.ts";

/** As in Buildbarn: a blob has any number of names, and nobody counts them. */
const LINK_COUNT = 9999;
const EMPTY = Buffer.alloc(0);

/** What CAS files need of their tree. */
export interface CasFileContext {
  digestOf(handle: Buffer): Digest;
  readBlob(file: CasFile, offset: number, count: number): MaybePromise<Uint8Array>;
  /**
   * Throws STALE after noting that, for a while, lookups of the file must answer with a private copy; or ACCESS if
   * inputs are read-only.
   */
  refuseChange(file: CasFile): never;
  /** A writable file that has taken the place, and the handle, of the file; undefined if not only one name may have it. */
  takeOver(file: CasFile): RegularFile | undefined;
}

/**
 * A file as the CAS has it. Its handle says everything about it, so such nodes are made on demand and dropped at
 * will; two with the same handle are the same file.
 *
 * It cannot be changed: an action that wants to change it gets a private copy in its place ({@link WritableFile}). If
 * the NFS client names the directory entry, as when it opens a file by name, that happens at once. SETATTR, SETXATTR
 * and LINK, and OPEN by handle, carry no name: they fail with STALE, once. Linux then walks the path again, with
 * lookups that bypass its caches, and those find the private copy (`TreeDirectory.lookup`). There may be no path, as for
 * fchmod(2): so a file that is open is taken over, if nobody else can have it (`TakenHandles`).
 */
export class CasFile implements RegularFile, SparseFile, ExtendedAttributes {
  readonly type = FileType.REGULAR;
  readonly immutable = true;
  readonly handle: Buffer;
  readonly #context: CasFileContext;
  #attributes: Attributes | undefined;
  #digest: Digest | undefined;

  /** `handle` is a CAS file's handle and never changes. */
  constructor(context: CasFileContext, handle: Buffer) {
    this.#context = context;
    this.handle = handle;
  }

  get digest(): Digest {
    this.#digest ??= this.#context.digestOf(this.handle);
    return this.#digest;
  }

  get isExecutable(): boolean {
    return casFileIsExecutable(this.handle);
  }

  attributes(): Attributes {
    this.#attributes ??= {
      mode: this.isExecutable ? 0o555 : 0o444,
      linkCount: LINK_COUNT,
      userId: ROOT.userId,
      groupId: ROOT.groupId,
      size: casFileSize(this.handle),
      spaceUsed: blockEnd(casFileSize(this.handle)),
      fileId: casFileId(this.handle),
      change: 1,
      accessTime: INPUT_TIME,
      modifyTime: INPUT_TIME,
      metadataTime: INPUT_TIME,
    };
    return this.#attributes;
  }

  /** Succeeds if nothing would change. */
  setAttributes(changes: AttributeChanges): void {
    const { mode, userId, groupId, size } = this.attributes();
    const changesNothing =
      (changes.mode ?? mode) === mode &&
      (changes.userId ?? userId) === userId &&
      (changes.groupId ?? groupId) === groupId &&
      (changes.size ?? size) === size &&
      changes.accessTime === undefined &&
      changes.modifyTime === undefined;
    if (!changesNothing) {
      this.redirectWriting();
    }
  }

  read(offset: number, count: number): MaybePromise<Uint8Array> {
    const available = Math.min(count, casFileSize(this.handle) - offset);
    return available <= 0 ? EMPTY : this.#context.readBlob(this, offset, available);
  }

  takeOver(): RegularFile | undefined {
    return this.#context.takeOver(this);
  }

  redirectWriting(): never {
    this.#context.refuseChange(this);
  }

  write(_offset: number, _data: Uint8Array, _stable: boolean): void {
    this.redirectWriting();
  }

  commit(): void {}

  /** The handle says it all: there is nothing to keep. */
  retain(): void {}
  release(): void {}

  seek(offset: number, what: "data" | "hole"): number | undefined {
    const size = casFileSize(this.handle);
    if (offset >= size) {
      throw new FileSystemError(FileSystemStatus.NXIO);
    }
    return what === "data" ? offset : size;
  }

  allocate(): void {
    this.redirectWriting();
  }

  deallocate(): void {
    this.redirectWriting();
  }

  getExtendedAttribute(_name: Name): undefined {
    return undefined;
  }

  setExtendedAttribute(_name: Name, _value: Uint8Array, how: "create" | "replace" | "either"): void {
    if (how === "replace") {
      throw new FileSystemError(FileSystemStatus.NOXATTR);
    }
    this.redirectWriting();
  }

  removeExtendedAttribute(_name: Name): never {
    throw new FileSystemError(FileSystemStatus.NOXATTR);
  }

  listExtendedAttributes(): readonly Name[] {
    return [];
  }
}
