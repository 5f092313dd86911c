import { setImmediate } from "node:timers/promises";
import {
  type AttributeChanges,
  type CloneableFile,
  type Credentials,
  type DelegableFile,
  FileSystemError,
  FileSystemStatus,
  FileType,
  type MaybePromise,
  type RegularFile,
  type SparseFile,
} from "../file-system.ts";
import { Content, type Steps } from "./content.ts";
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
  /** While the content changes in turns of the event loop: settles when it is whole again. */
  #changing: Promise<void> | undefined;
  /** While another file takes parts of the content over in turns, so that it must not change. */
  #cloned: Promise<void> | undefined;

  constructor(fileSystem: Owner, owner: Credentials, changes: AttributeChanges) {
    super(fileSystem, owner, changes, 0o644);
    const { size } = changes;
    if (size !== undefined && size > 0) {
      this.resize(size);
    }
  }

  override setAttributes(changes: AttributeChanges): MaybePromise<void> {
    return changes.size === undefined
      ? super.setAttributes(changes)
      : this.#whenIdle(() => super.setAttributes(changes));
  }

  read(offset: number, count: number): MaybePromise<Uint8Array> {
    // Only those who wait pay for a closure.
    return this.#changing === undefined
      ? this.#content.read(offset, count)
      : this.#whenWhole(() => this.#content.read(offset, count));
  }

  write(offset: number, data: Uint8Array): MaybePromise<void> {
    return this.#busy === undefined
      ? this.#write(offset, data)
      : this.#whenIdle(() => this.#write(offset, data));
  }

  commit(): void {}

  seek(offset: number, what: "data" | "hole"): MaybePromise<number | undefined> {
    return this.#whenWhole(() => {
      const found = this.#content.seek(offset, what === "data");
      return what === "data" && found >= this.#content.size ? undefined : found;
    });
  }

  allocate(offset: number, length: number): MaybePromise<void> {
    return this.#whenIdle(() => {
      this.#content.reserve(offset, offset + length);
      this.#written();
    });
  }

  deallocate(offset: number, length: number): MaybePromise<void> {
    return this.#whenIdle(() =>
      this.#change(this.#content.clearing(offset, Math.min(offset + length, this.#content.size))),
    );
  }

  cloneRange(
    source: RegularFile,
    sourceOffset: number,
    offset: number,
    length: number,
  ): MaybePromise<number> {
    if (!(source instanceof MemoryFile)) {
      throw new FileSystemError(FileSystemStatus.XDEV);
    }
    const busy = this.#busy ?? source.#busy;
    if (busy !== undefined) {
      return busy.then(() => this.cloneRange(source, sourceOffset, offset, length));
    }
    const steps = this.#content.cloning(source.#content, sourceOffset, offset, length);
    const pending = this.#change(steps, source);
    return pending === undefined ? length : pending.then(() => length);
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

  #write(offset: number, data: Uint8Array): void {
    try {
      this.#content.write(offset, data);
    } finally {
      this.#written();
    }
  }

  get #busy(): Promise<void> | undefined {
    return this.#changing ?? this.#cloned;
  }

  #whenIdle<T>(work: () => MaybePromise<T>): MaybePromise<T> {
    const busy = this.#busy;
    return busy === undefined ? work() : busy.then(() => this.#whenIdle(work));
  }

  #whenWhole<T>(work: () => T): MaybePromise<T> {
    const changing = this.#changing;
    return changing === undefined ? work() : changing.then(() => this.#whenWhole(work));
  }

  /**
   * Changes the content in steps, which read that of `source`. If there are several, each has a turn of the event loop of
   * its own, and nobody sees what is in between: reads of this file wait, and changes of both.
   */
  #change(steps: Steps, source: MemoryFile = this): Promise<void> | undefined {
    let pending: Promise<void> | undefined;
    try {
      pending = inTurns(steps);
    } finally {
      if (pending === undefined) {
        this.#written();
      }
    }
    if (pending === undefined) {
      return undefined;
    }
    this.retain();
    source.retain();
    const ended = pending.finally(() => {
      this.#changing = undefined;
      source.#cloned = undefined;
      this.#written();
      this.release();
      source.release();
    });
    this.#changing = ended.catch(() => {});
    source.#cloned = this.#changing;
    return ended;
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

/** Does all steps: at once if there is but one, else each in a turn of its own. */
function inTurns(steps: Steps): Promise<void> | undefined {
  return steps.next().done ? undefined : inFurtherTurns(steps);
}

async function inFurtherTurns(steps: Steps): Promise<void> {
  do {
    await setImmediate();
  } while (!steps.next().done);
}
