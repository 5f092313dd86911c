import { BLOCK_HEADER_BYTES } from "./layout.ts";

/** How many blocks of which age there are: at least one new one, and with the spare ones two or more. */
export interface RingSizes {
  /** What is read in them is copied to new ones, as they go next. */
  readonly oldBlocks: number;
  readonly currentBlocks: number;
  /** What is written goes to these. */
  readonly newBlocks: number;
}

/** A block that holds, or is to hold, entries. */
export interface Block {
  /** Which of the device's blocks it is. */
  readonly position: number;
  /** Grows with each block that is begun. */
  readonly turn: number;
  /** Where the next entry goes. */
  writeOffset: number;
  /** Reads and writes in progress. While there are any, its place is not used again. */
  leases: number;
  /** Living entries, and the bytes of their content. */
  entries: number;
  contentBytes: number;
  /** Since when it is old, in milliseconds since the epoch; 0 before. */
  oldSince: number;
}

/** What a ring has begun and given up since it was made. */
export interface RingTurnover {
  diskBlocksBegun: number;
  diskBlocksGivenUp: number;
  /** Entries, and the bytes of their content. */
  diskBlobsEvicted: number;
  diskBytesEvicted: number;
  /** {@link Block.oldSince} of the block that was given up last; before, when the ring was made. */
  lastGivenUpOldSince: number;
}

export interface BlockRingOptions extends RingSizes {
  readonly blockBytes: number;
  /** All there are, at least the sum of the above; among them spare ones for what is still being read when it must go. */
  readonly blockCount: number;
  /** Called before anything is put into the block. Throws if that cannot be. */
  begun(block: Block): void;
}

/**
 * Which blocks are old, current and new, and which of them the next entry goes to: Buildbarn's way. A full new block
 * becomes current, the oldest current one old, and the oldest old one is given up. Of the new blocks each takes half as
 * much as the one before, so that they do not fill at the same time, and what is used together gets spread.
 */
export class BlockRing {
  readonly turnover: RingTurnover = {
    diskBlocksBegun: 0,
    diskBlocksGivenUp: 0,
    diskBlobsEvicted: 0,
    diskBytesEvicted: 0,
    lastGivenUpOldSince: Date.now(),
  };
  readonly #options: BlockRingOptions;
  /** From old to new. */
  readonly #blocks: Block[] = [];
  readonly #byTurn = new Map<number, Block>();
  readonly #free: number[];
  #oldCount = 0;
  #currentCount = 0;
  #lastTurn = 0;
  #attemptsLeft = 0;
  /** Among the new blocks. */
  #attemptIndex = -1;

  constructor(options: BlockRingOptions) {
    this.#options = options;
    this.#free = Array.from({ length: options.blockCount }, (_, position) => position);
  }

  get blocks(): readonly Block[] {
    return this.#blocks;
  }

  /** The block, if it was not given up. */
  block(turn: number): Block | undefined {
    return this.#byTurn.get(turn);
  }

  isOld(block: Block): boolean {
    return this.#oldCount > 0 && block.turn <= this.#blocks[this.#oldCount - 1]!.turn;
  }

  get capacity(): number {
    return this.#options.blockBytes - BLOCK_HEADER_BYTES;
  }

  /**
   * Takes over blocks that an earlier run left, from old to new; `lastTurn` is the highest turn that any block on the
   * device ever had. Returns those that there is a place for.
   */
  restore(blocks: readonly Block[], lastTurn: number): readonly Block[] {
    const { oldBlocks, currentBlocks, newBlocks } = this.#options;
    const kept = blocks.slice(-(oldBlocks + currentBlocks + newBlocks));
    for (const block of kept) {
      this.#blocks.push(block);
      this.#byTurn.set(block.turn, block);
      this.#free.splice(this.#free.indexOf(block.position), 1);
    }
    this.#oldCount = Math.max(0, kept.length - currentBlocks - newBlocks);
    for (const block of kept.slice(0, this.#oldCount)) {
      block.oldSince = this.turnover.lastGivenUpOldSince;
    }
    this.#lastTurn = lastTurn;
    return kept;
  }

  /** The block and the offset in it for so many bytes; undefined if there is none, as what must go is still being read. */
  allocate(bytes: number): { readonly block: Block; readonly offset: number } | undefined {
    const block = this.#withSpace(bytes);
    if (block === undefined) {
      return undefined;
    }
    const offset = block.writeOffset;
    block.writeOffset += bytes;
    return { block, offset };
  }

  /** Ends a lease. */
  release(block: Block): void {
    block.leases--;
    if (block.leases === 0 && this.#byTurn.get(block.turn) !== block) {
      this.#free.push(block.position);
    }
  }

  get #newCount(): number {
    return this.#blocks.length - this.#oldCount - this.#currentCount;
  }

  #withSpace(bytes: number): Block | undefined {
    const { newBlocks, currentBlocks } = this.#options;
    while (this.#currentCount + this.#newCount < currentBlocks + newBlocks && this.#begin()) {
      // Until all of them are there.
    }
    if (this.#newCount === 0) {
      return undefined;
    }
    while (!this.#hasSpace(this.#blocks[this.#oldCount + this.#currentCount]!, bytes)) {
      if (this.#newCount > newBlocks) {
        // At first, before there is anything to become current, there are more new ones.
        this.#currentCount++;
      } else if (!this.#turn()) {
        return undefined;
      }
      this.#attemptIndex = -1;
      this.#attemptsLeft = 0;
    }
    for (;;) {
      if (this.#attemptsLeft > 0) {
        const block = this.#blocks[this.#oldCount + this.#currentCount + this.#attemptIndex]!;
        if (this.#hasSpace(block, bytes)) {
          this.#attemptsLeft--;
          return block;
        }
      }
      this.#attemptIndex = (this.#attemptIndex + 1) % this.#newCount;
      this.#attemptsLeft =
        this.#attemptIndex >= this.#newCount - newBlocks
          ? 2 ** (this.#newCount - this.#attemptIndex - 1)
          : 2 ** newBlocks;
    }
  }

  #hasSpace({ writeOffset }: Block, bytes: number): boolean {
    return this.#options.blockBytes - writeOffset >= bytes;
  }

  /** Begins a new block; in return the oldest new one becomes current, and so on. */
  #turn(): boolean {
    const { oldBlocks, currentBlocks, newBlocks } = this.#options;
    if (this.#free.length === 0) {
      // No spare one: the oldest has to go first, unless somebody still reads it.
      if (this.#blocks.length < oldBlocks + currentBlocks + newBlocks || this.#blocks[0]!.leases > 0) {
        return false;
      }
      this.#giveUpOldest();
    }
    if (!this.#begin()) {
      return false;
    }
    this.#currentCount++;
    if (this.#currentCount > currentBlocks) {
      this.#currentCount--;
      this.#oldCount++;
      this.#blocks[this.#oldCount - 1]!.oldSince = Date.now();
    }
    while (this.#oldCount > oldBlocks) {
      this.#giveUpOldest();
    }
    return true;
  }

  #begin(): boolean {
    const position = this.#free.shift();
    if (position === undefined) {
      return false;
    }
    const block: Block = {
      position,
      turn: this.#lastTurn + 1,
      writeOffset: BLOCK_HEADER_BYTES,
      leases: 0,
      entries: 0,
      contentBytes: 0,
      oldSince: 0,
    };
    try {
      this.#options.begun(block);
    } catch {
      // A full disk, perhaps. The next entry tries again.
      this.#free.push(position);
      return false;
    }
    this.turnover.diskBlocksBegun++;
    this.#lastTurn = block.turn;
    this.#blocks.push(block);
    this.#byTurn.set(block.turn, block);
    return true;
  }

  #giveUpOldest(): void {
    const block = this.#blocks.shift()!;
    if (this.#oldCount > 0) {
      this.#oldCount--;
    } else {
      this.#currentCount--;
    }
    const { turnover } = this;
    turnover.diskBlocksGivenUp++;
    turnover.diskBlobsEvicted += block.entries;
    turnover.diskBytesEvicted += block.contentBytes;
    turnover.lastGivenUpOldSince = block.oldSince || turnover.lastGivenUpOldSince;
    this.#byTurn.delete(block.turn);
    if (block.leases === 0) {
      this.#free.push(block.position);
    }
  }
}
