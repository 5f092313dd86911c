import { FileSystemError, FileSystemStatus, type MaybePromise } from "../../nfs/file-system.ts";
import type { Digest } from "../../reapi/digest.ts";
import { toBlobError, toFilePoolFault } from "../faults.ts";
import { blockEnd, blockStart } from "./blocks.ts";
import type { ContentAccount, ContentPlaces } from "./content-places.ts";
import { Extents } from "./extents.ts";
import { OwnBytes } from "./own-bytes.ts";
import { seek } from "./seek.ts";

const EMPTY = Buffer.alloc(0);

/**
 * The content of a writable file. Each byte is one of three things: **own**, written by the action, and kept in memory
 * or in the file pool; from the **base**, the blob of the input that the file is a private copy of; or else **zero**,
 * a hole. So a private copy copies nothing: what is not overwritten is still read from the CAS.
 *
 * Changes happen one after the other, even if they wait for the pool. Reads do not wait for them.
 *
 * The quota counts a file by its size, holes included, as Buildbarn's does. Within the size of the base, only
 * overwritten blocks count, each once: a hole made there later frees nothing, as the pool cannot punch holes. A file
 * that is as the CAS has it does not count at all.
 */
export class FileContent {
  readonly #places: ContentPlaces;
  readonly #account: ContentAccount;
  /** Which bytes are own. */
  readonly #own = new Extents();
  readonly #bytes: OwnBytes;
  #size = 0;
  #base: Digest | undefined;
  /** The written blocks within the size of the base. */
  readonly #ownBlocks = new Extents();
  /** The blocks that are own, from the base, or allocated. */
  readonly #usedBlocks = new Extents();
  /** What is from the base, unless it is own: what the action has neither cut off nor made a hole. */
  readonly #based = new Extents();
  /** Settles when the changes under way have ended; undefined if there are none. */
  #changing: Promise<void> | undefined;
  #counted = false;
  #chargedBytes = 0;
  #disposed = false;

  /**
   * The content of `base`, or none. Throws FileSystemError DQUOT if the quota has no room for a file; a private copy
   * counts from its first change.
   */
  constructor(places: ContentPlaces, account: ContentAccount, base: Digest | undefined) {
    this.#places = places;
    this.#account = account;
    this.#bytes = new OwnBytes(places);
    if (base === undefined) {
      this.#count();
    } else {
      this.#setBase(base);
    }
  }

  get size(): number {
    return this.#size;
  }

  /** Bytes of the blocks that hold something or were allocated; those of the base count as if they were stored. */
  get spaceUsed(): number {
    return this.#usedBlocks.total;
  }

  /** What the quota counts. */
  get chargedBytes(): number {
    return this.#chargedBytes;
  }

  /** The digest, if the content is certain to be that of a blob. */
  get digest(): Digest | undefined {
    const base = this.#base;
    return base !== undefined &&
      this.#changing === undefined &&
      this.#own.total === 0 &&
      this.#size === base.sizeBytes &&
      this.#based.total === base.sizeBytes
      ? base
      : undefined;
  }

  /** At most `count` bytes; fewer at the end of the file, or if the input source gives a shorter piece. */
  read(offset: number, count: number): MaybePromise<Uint8Array> {
    const end = Math.min(offset + count, this.#size);
    if (offset >= end) {
      return EMPTY;
    }
    const ownEnd = this.#own.endAt(offset);
    if (ownEnd !== undefined && ownEnd >= end) {
      const target = Buffer.allocUnsafe(end - offset);
      const pending = this.#readOwn(offset, target);
      return pending === undefined ? target : pending.then(() => target);
    }
    if ((this.#based.endAt(offset) ?? 0) >= end && this.#own.covered(offset, end) === 0) {
      return this.#readBase(this.#base!, offset, end - offset);
    }
    return this.#assemble(offset, end);
  }

  write(offset: number, data: Uint8Array): MaybePromise<void> {
    // Only those who wait pay for a closure.
    return this.#changing === undefined
      ? this.#begun(this.#write(offset, data))
      : this.#change(() => this.#write(offset, data));
  }

  /** Makes the file shorter, or longer by a hole. */
  resize(size: number): MaybePromise<void> {
    return this.#change(() => this.#resize(size));
  }

  /**
   * Makes the blocks of the range used ones, and the file at least reach to its end. Throws FileSystemError NOSPC if the
   * pool has not so many bytes free now; it keeps none back.
   */
  allocate(offset: number, length: number): MaybePromise<void> {
    return this.#change(() => this.#allocate(offset, offset + length));
  }

  /** Makes the range read as zeros; the size stays. */
  deallocate(offset: number, length: number): MaybePromise<void> {
    return this.#change(() => this.#deallocate(offset, Math.min(offset + length, this.#size)));
  }

  /** Makes the content that of the blob, freeing what was stored. */
  replaceBy(base: Digest): MaybePromise<void> {
    return this.#change(() => {
      this.#count();
      this.#clear();
      this.#setBase(base);
    });
  }

  /** See {@link SparseFile.seek}. */
  seek(offset: number, what: "data" | "hole"): number | undefined {
    return seek([this.#own, this.#based], this.#size, offset, what);
  }

  /** Frees all storage and all charges. Further changes fail with STALE. */
  dispose(): void {
    if (this.#disposed) {
      return;
    }
    this.#disposed = true;
    this.#clear();
    if (this.#counted) {
      this.#account.quota.releaseFile();
    }
  }

  #change(change: () => MaybePromise<void>): MaybePromise<void> {
    const before = this.#changing;
    return this.#begun(before === undefined ? change() : before.then(change, change));
  }

  /** Makes later changes wait for this one. */
  #begun(result: MaybePromise<void>): MaybePromise<void> {
    if (!(result instanceof Promise)) {
      return;
    }
    const ending = result.finally(() => {
      if (this.#changing === ending) {
        this.#changing = undefined;
      }
    });
    this.#changing = ending;
    return ending;
  }

  #write(offset: number, data: Uint8Array): MaybePromise<void> {
    const end = offset + data.length;
    if (data.length === 0) {
      return;
    }
    if (end > Number.MAX_SAFE_INTEGER) {
      throw new FileSystemError(FileSystemStatus.FBIG);
    }
    this.#count();
    const blocksStart = Math.min(blockStart(offset), this.#baseSize);
    const blocksEnd = offset < this.#baseSize ? Math.min(blockEnd(end), this.#baseSize) : blocksStart;
    const charge =
      Math.max(end - Math.max(this.#size, this.#baseSize), 0) +
      blocksEnd -
      blocksStart -
      this.#ownBlocks.covered(blocksStart, blocksEnd);
    this.#charge(charge);
    try {
      const pending = this.#bytes.write(offset, data);
      if (pending === undefined) {
        this.#written(offset, end);
        return;
      }
      return pending.then(
        () => this.#written(offset, end),
        (error) => this.#poolFailed(error, charge),
      );
    } catch (error) {
      this.#poolFailed(error, charge);
    }
  }

  #written(offset: number, end: number): void {
    if (this.#disposed) {
      return;
    }
    this.#own.add(offset, end);
    this.#usedBlocks.add(blockStart(offset), blockEnd(end));
    if (offset < this.#baseSize) {
      this.#ownBlocks.add(blockStart(offset), Math.min(blockEnd(end), this.#baseSize));
    }
    this.#size = Math.max(this.#size, end);
  }

  #allocate(offset: number, end: number): void {
    const oldSize = this.#size;
    if (end > oldSize) {
      this.#extend(end);
    }
    const [start, stop] = [blockStart(offset), blockEnd(end)];
    if (stop - start - this.#usedBlocks.covered(start, stop) > this.#places.pool.space().freeBytes) {
      // Only now, as a quota's refusal is also told to whoever runs the action.
      this.#charge(this.#beyondBase(oldSize) - this.#beyondBase(this.#size));
      this.#size = oldSize;
      throw new FileSystemError(FileSystemStatus.NOSPC);
    }
    this.#usedBlocks.add(start, stop);
  }

  #extend(size: number): void {
    if (size > Number.MAX_SAFE_INTEGER) {
      throw new FileSystemError(FileSystemStatus.FBIG);
    }
    this.#count();
    this.#charge(this.#beyondBase(size) - this.#beyondBase(this.#size));
    this.#size = size;
  }

  #resize(size: number): MaybePromise<void> {
    const oldSize = this.#size;
    if (size >= oldSize) {
      return size > oldSize ? this.#extend(size) : undefined;
    }
    this.#count();
    if (size === 0) {
      return this.#clear();
    }
    const ownBlocksBefore = this.#ownBlocks.total;
    this.#own.remove(size, oldSize);
    this.#usedBlocks.remove(blockEnd(size), blockEnd(oldSize));
    this.#ownBlocks.remove(blockEnd(size), this.#baseSize);
    this.#based.remove(size, oldSize);
    const ownBlocks = this.#ownBlocks.total - ownBlocksBefore;
    this.#charge(this.#beyondBase(size) - this.#beyondBase(oldSize) + ownBlocks);
    this.#size = size;
    try {
      const pending = this.#bytes.shrink(size);
      return pending instanceof Promise ? pending.catch((error) => this.#poolFailed(error, 0)) : undefined;
    } catch (error) {
      this.#poolFailed(error, 0);
    }
  }

  #deallocate(offset: number, end: number): void {
    if (offset >= end) {
      return;
    }
    this.#count();
    this.#own.remove(offset, end);
    this.#based.remove(offset, end);
    const blocksEnd = end === this.#size ? blockEnd(end) : blockStart(end);
    this.#usedBlocks.remove(blockEnd(offset), blocksEnd);
  }

  #readBase(base: Digest, offset: number, count: number): MaybePromise<Uint8Array> {
    try {
      const result = this.#places.source.read(base, offset, count);
      return result instanceof Promise
        ? this.#account.noteWait(result, base).catch((error) => this.#baseFailed(error, base))
        : result;
    } catch (error) {
      return this.#baseFailed(error, base);
    }
  }

  /** Fills `target` with own bytes. */
  #readOwn(offset: number, target: Buffer): Promise<void> | undefined {
    try {
      const pending = this.#bytes.readInto(offset, target);
      return pending instanceof Promise ? pending.catch((error) => this.#poolFailed(error, 0)) : undefined;
    } catch (error) {
      this.#poolFailed(error, 0);
    }
  }

  #assemble(offset: number, end: number): MaybePromise<Uint8Array> {
    const target = Buffer.alloc(end - offset);
    const pending: Promise<void>[] = [];
    for (let at = offset; at < end; ) {
      const ownEnd = this.#own.endAt(at);
      const basedEnd = this.#based.endAt(at);
      let next = Math.min(ownEnd ?? this.#own.startAfter(at) ?? end, end);
      if (ownEnd !== undefined) {
        const reading = this.#readOwn(at, target.subarray(at - offset, next - offset));
        if (reading !== undefined) {
          pending.push(reading);
        }
      } else if (basedEnd === undefined) {
        next = Math.min(next, this.#based.startAfter(at) ?? end);
      } else {
        next = Math.min(next, basedEnd);
        pending.push(this.#copyBase(this.#base!, at, target.subarray(at - offset, next - offset)));
      }
      at = next;
    }
    return pending.length === 0 ? target : Promise.all(pending).then(() => target);
  }

  /** `base` is the base as of the start of the read: another change may since have taken it from the file. */
  async #copyBase(base: Digest, offset: number, target: Buffer): Promise<void> {
    for (let filled = 0; filled < target.length; ) {
      const piece = await this.#readBase(base, offset + filled, target.length - filled);
      if (piece.length === 0) {
        throw new FileSystemError(FileSystemStatus.IO);
      }
      target.set(piece, filled);
      filled += piece.length;
    }
  }

  /** Leaves an empty file without a base. */
  #clear(): void {
    this.#bytes.shrink(0);
    this.#own.clear();
    this.#ownBlocks.clear();
    this.#usedBlocks.clear();
    this.#charge(-this.#chargedBytes);
    this.#based.clear();
    this.#base = undefined;
    this.#size = 0;
  }

  #setBase(base: Digest): void {
    this.#base = base;
    this.#based.add(0, base.sizeBytes);
    this.#size = base.sizeBytes;
    this.#usedBlocks.add(0, blockEnd(base.sizeBytes));
  }

  get #baseSize(): number {
    return this.#base?.sizeBytes ?? 0;
  }

  /** How many bytes of a file of this size are charged whether written or not. */
  #beyondBase(size: number): number {
    return Math.max(size - this.#baseSize, 0);
  }

  /** To be called before each change: the first one makes the file count. */
  #count(): void {
    if (this.#disposed) {
      throw this.#account.tooLate();
    }
    if (!this.#counted) {
      this.#account.quota.takeFile();
      this.#counted = true;
    }
  }

  #charge(bytes: number): void {
    this.#account.quota.resize(bytes);
    this.#chargedBytes += bytes;
  }

  #poolFailed(error: unknown, charged: number): never {
    if (!this.#disposed) {
      this.#charge(-charged);
    }
    const { fault, status } = toFilePoolFault(error);
    if (fault !== undefined) {
      this.#account.report(fault);
    }
    throw status;
  }

  #baseFailed(error: unknown, base: Digest): never {
    this.#account.report(toBlobError(error, base));
    throw new FileSystemError(FileSystemStatus.IO);
  }
}
