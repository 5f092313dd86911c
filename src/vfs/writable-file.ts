import {
  type AttributeChanges,
  type CloneableFile,
  FileSystemError,
  FileSystemStatus,
  FileType,
  type MaybePromise,
  type RegularFile,
  type SparseFile,
  type Timestamp,
} from "../nfs/file-system.ts";
import type { Digest } from "../reapi/digest.ts";
import { CasFile } from "./cas-file.ts";
import type { ContentAccount } from "./content/content-places.ts";
import { FileContent } from "./content/file-content.ts";
import { Leaf, type TreeContext } from "./node.ts";
import type { Owner } from "./owner.ts";

const COPY_BYTES = 1024 * 1024;

/**
 * A regular file that belongs to one action: written by it, or the private copy of an input. It exists, with its
 * content, as long as it has a name or is retained.
 */
export class WritableFile extends Leaf implements RegularFile, SparseFile, CloneableFile {
  readonly type = FileType.REGULAR;
  readonly immutable = false;
  readonly #content: FileContent;
  #retained = 0;
  /** How many of the worker's own need the content. */
  #keepers = 0;
  #contentChanges = 0;
  #onReleased: (() => void)[] | undefined;

  /**
   * With the content of `base`, or none. Throws DQUOT if the quota has no room for it. `taken`: the handle that it takes of
   * a CAS file.
   */
  constructor(
    tree: TreeContext,
    account: ContentAccount,
    base: Digest | undefined,
    mode: number,
    owner: Owner,
    time: Timestamp | undefined,
    taken?: Buffer,
  ) {
    const content = new FileContent(tree.places, account, base);
    super(tree, account, mode, owner, time, taken);
    this.#content = content;
    this.#updateSize();
  }

  /** The digest of the content, if that is certain to be a blob of the CAS. */
  get digest(): Digest | undefined {
    return this.#content.digest;
  }

  get size(): number {
    return this.#content.size;
  }

  /** What the quota counts of its content: all that is not the blob's it is a copy of, holes included. */
  get chargedBytes(): number {
    return this.#content.chargedBytes;
  }

  /** Whether a client has the file open. */
  get retained(): boolean {
    return this.#retained > 0;
  }

  /** How often the content has changed; counts a change once it is done. */
  get contentChanges(): number {
    return this.#contentChanges;
  }

  /** Keeps the content until the promise of `use` settles, whether the file has a name or not. Throws STALE if it is gone. */
  async whileKept<T>(use: () => Promise<T>): Promise<T> {
    if (!this.#isWanted) {
      throw new FileSystemError(FileSystemStatus.STALE);
    }
    this.#keepers++;
    try {
      return await use();
    } finally {
      this.#keepers--;
      this.#endUnlessWanted();
    }
  }

  /** Resolves when no client has the file open any more. */
  released(): Promise<void> {
    if (this.#retained === 0) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#onReleased ??= [];
      this.#onReleased.push(resolve);
    });
  }

  read(offset: number, count: number): MaybePromise<Uint8Array> {
    const { usage } = this.account.quota;
    usage.readsCount++;
    usage.readsSizeBytes += Math.max(0, Math.min(count, this.size - offset));
    return this.#content.read(offset, count);
  }

  write(offset: number, data: Uint8Array, _stable: boolean): MaybePromise<void> {
    const { usage } = this.account.quota;
    usage.writesCount++;
    usage.writesSizeBytes += data.length;
    const pending = this.#content.write(offset, data);
    return pending === undefined ? this.#contentChanged() : pending.then(() => this.#contentChanged());
  }

  /** Nothing to do: the file does not outlive this process, so all storage is equally stable. */
  commit(): void {}

  setAttributes(changes: AttributeChanges): MaybePromise<void> {
    if (changes.size === undefined) {
      this.applyChanges(changes);
      return;
    }
    this.account.quota.usage.truncatesCount++;
    const pending = this.#content.resize(changes.size);
    const done = (): void => {
      this.#contentChanged();
      this.applyChanges(changes);
    };
    return pending === undefined ? done() : pending.then(done);
  }

  seek(offset: number, what: "data" | "hole"): number | undefined {
    return this.#content.seek(offset, what);
  }

  /** Reserves nothing but quota, and that only for what makes the file longer: storage must be there, but is not kept back. */
  allocate(offset: number, length: number): MaybePromise<void> {
    const pending = this.#content.allocate(offset, length);
    return pending === undefined ? this.#contentChanged() : pending.then(() => this.#contentChanged());
  }

  deallocate(offset: number, length: number): MaybePromise<void> {
    const pending = this.#content.deallocate(offset, length);
    return pending === undefined ? this.#contentChanged() : pending.then(() => this.#contentChanged());
  }

  /** Shares a whole file by reference if its digest is known; copies anything else. */
  cloneRange(
    source: RegularFile,
    sourceOffset: number,
    offset: number,
    length: number,
  ): MaybePromise<number> {
    const digest = source instanceof CasFile || source instanceof WritableFile ? source.digest : undefined;
    const whole = sourceOffset === 0 && offset === 0 && length === digest?.sizeBytes && length >= this.size;
    if (digest === undefined || !whole) {
      return this.#copyRange(source, sourceOffset, offset, length);
    }
    const pending = this.#content.replaceBy(digest);
    const done = (): number => {
      this.#contentChanged();
      return length;
    };
    return pending === undefined ? done() : pending.then(done);
  }

  retain(): void {
    this.#retained++;
    if (this.#retained === 1) {
      this.account.openFiles++;
    }
  }

  release(): void {
    this.#retained--;
    if (this.#retained > 0) {
      return;
    }
    this.account.openFiles--;
    const waiting = this.#onReleased;
    this.#onReleased = undefined;
    for (const resolve of waiting ?? []) {
      resolve();
    }
    this.#endUnlessWanted();
  }

  protected override nameless(): void {
    this.#endUnlessWanted();
  }

  get #isWanted(): boolean {
    return this.attributes().linkCount > 0 || this.#retained > 0 || this.#keepers > 0;
  }

  #endUnlessWanted(): void {
    if (!this.#isWanted) {
      this.end();
    }
  }

  protected override end(): void {
    super.end();
    this.#content.dispose();
  }

  /** Leaves holes where the source has them. */
  async #copyRange(
    source: RegularFile & Partial<SparseFile>,
    sourceOffset: number,
    offset: number,
    length: number,
  ): Promise<number> {
    const distance = offset - sourceOffset;
    const ranges = await dataAndHoles(source, sourceOffset, sourceOffset + length);
    // A range that moves towards the end of the same file is copied from its end, or it would be overwritten
    // before it was read.
    const backwards = source === this && sourceOffset < offset && offset < sourceOffset + length;
    for (const { start, end, isHole } of backwards ? ranges.reverse() : ranges) {
      if (isHole) {
        await this.#makeHole(start + distance, end + distance);
        continue;
      }
      for (let copied = 0; copied < end - start; ) {
        const count = Math.min(COPY_BYTES, end - start - copied);
        const at = backwards ? end - copied - count : start + copied;
        await this.#content.write(at + distance, await readFully(source, at, count));
        copied += count;
        this.#contentChanged();
      }
    }
    return length;
  }

  /** Makes the file at least reach to its end. */
  async #makeHole(start: number, end: number): Promise<void> {
    await this.#content.deallocate(start, end - start);
    if (end > this.size) {
      await this.#content.resize(end);
    }
    this.#contentChanged();
  }

  #contentChanged(): void {
    this.#contentChanges++;
    this.#updateSize();
    this.markModified();
  }

  #updateSize(): void {
    const attributes = this.attributes();
    attributes.size = this.#content.size;
    attributes.spaceUsed = this.#content.spaceUsed;
  }
}

interface Range {
  readonly start: number;
  readonly end: number;
  readonly isHole: boolean;
}

/** What is between two offsets, in order; all data if the file does not say where its holes are. */
async function dataAndHoles(
  file: RegularFile & Partial<SparseFile>,
  start: number,
  end: number,
): Promise<Range[]> {
  if (file.seek === undefined) {
    return [{ start, end, isHole: false }];
  }
  const ranges: Range[] = [];
  for (let at = start; at < end; ) {
    const dataStart = Math.min((await file.seek(at, "data")) ?? end, end);
    if (dataStart > at) {
      ranges.push({ start: at, end: dataStart, isHole: true });
    }
    at = dataStart;
    if (at < end) {
      at = Math.min((await file.seek(at, "hole")) ?? end, end);
      ranges.push({ start: dataStart, end: at, isHole: false });
    }
  }
  return ranges;
}

async function readFully(source: RegularFile, offset: number, count: number): Promise<Uint8Array> {
  const first = await source.read(offset, count);
  if (first.length === count) {
    return first;
  }
  const whole = Buffer.allocUnsafeSlow(count);
  whole.set(first);
  for (let filled = first.length; filled < count; ) {
    const piece = await source.read(offset + filled, count - filled);
    if (piece.length === 0) {
      throw new FileSystemError(FileSystemStatus.INVAL, "the range to copy ends beyond the end of the file");
    }
    whole.set(piece, filled);
    filled += piece.length;
  }
  return whole;
}
